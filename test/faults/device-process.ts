/** A device as a program of its own: state in a folder, and every run noted in a file before and after. */
import { appendFileSync } from 'node:fs';
import { enroll, FileStore, PushpointDevice } from '../../device/index.ts';

const [server = '', token = '', folder = '', ledger = ''] = process.argv.slice(2);
const store = await FileStore.open(folder);
const { deviceId } = await enroll({ server, token, store, name: 'a process' });
const device = new PushpointDevice({ store, reconnect: { baseMs: 100, capMs: 500, nowJitterMs: 50 } });
const note = (what: string, id: string) => appendFileSync(ledger, `${what} ${id}\n`);

device.handle('message', ({ id }) => {
  note('began', id);
  note('ended', id);
});
device.handle(
  'sync',
  async ({ id }) => {
    note('began', id);
    await new Promise((resolve) => setTimeout(resolve, 300));
    note('ended', id);
  },
  { safeToRepeat: true },
);
device.handle('task.start', async ({ id }) => {
  note('began', id);
  await new Promise((resolve) => setTimeout(resolve, 300));
  note('ended', id);
});
await device.start();
console.log(`ready ${deviceId}`);
