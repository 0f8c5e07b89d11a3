/**
 * A device in Node.js: it keeps a file up to date and counts how often it did.
 *
 *   PUSHPOINT_ENROLMENT_TOKEN=pp1... node examples/node-device/device.js
 *   pushpoint sync --all --wait
 *   pushpoint message shout --body '"hello"' --all --wait
 *
 * PUSHPOINT_SERVER names another server than http://127.0.0.1:8080, STATE another folder for the device's
 * memory.
 */
import { writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { enroll, FileStore, PushpointDevice, Rejected } from '@pushpoint/device';

const folder = process.env.STATE ?? './device-state';
const store = await FileStore.open(folder);

// Once; later starts find who they are in the store, and need no token.
await enroll({
  server: process.env.PUSHPOINT_SERVER ?? 'http://127.0.0.1:8080',
  token: process.env.PUSHPOINT_ENROLMENT_TOKEN ?? '',
  store,
  name: hostname(),
});

const device = new PushpointDevice({ store, software: 'node-device/1.0' });
let synced = 0;

// Writing the same file twice does no harm, so a sync that a crash cut short is simply run again.
device.handle(
  'sync',
  async ({ args }, { signal, progress }) => {
    for (const percent of [25, 50, 75]) {
      // Throws when the command is canceled or its time is up; the outcome says which.
      await pause(args.full === true ? 200 : 20, undefined, { signal });
      progress(percent, 'fetching');
    }
    await writeFile(join(folder, 'policy.json'), JSON.stringify({ fetched: new Date().toISOString() }));
    synced += 1;
    return { revision: String(synced) };
  },
  { safeToRepeat: true },
);

// An application's own messages. What is thrown as `Rejected` was not tried; any other error is a failure.
device.handle('message', ({ args: { topic, body } }) => {
  if (topic !== 'shout') throw new Rejected(`no such topic: ${topic}`);
  return String(body).toUpperCase();
});

device.on('connected', ({ gateway }) => console.log(`connected to ${gateway.name}`));
device.on('disconnected', ({ reason, retryInMs }) =>
  console.log(`disconnected: ${reason || 'no reason given'}; next try in ${retryInMs} ms`),
);

await device.start();
console.log(`device ${device.deviceId}`);

for (const name of ['SIGINT', 'SIGTERM']) {
  process.once(name, async () => {
    // Running handlers get five seconds to finish; what they did not report is told as interrupted at the
    // next start.
    await device.stop();
    await store.close();
  });
}
