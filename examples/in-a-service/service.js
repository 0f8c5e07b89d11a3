/**
 * An existing HTTP service that becomes a device as well: operators clear its cache and read its figures
 * without opening a port.
 *
 *   PUSHPOINT_ENROLMENT_TOKEN=pp1... node examples/in-a-service/service.js
 *   pushpoint stats --all --wait
 *   pushpoint message clear-cache --all --wait
 *   pushpoint tunnel DEVICE 3000      # its own page, through the gateway
 */
import { createServer } from 'node:http';
import { enroll, FileStore, PushpointDevice, Rejected } from '@pushpoint/device';

const cache = new Map();
const figures = { requests: 0, cached: 0 };

const service = createServer((request, response) => {
  figures.requests += 1;
  const text = cache.get(request.url) ?? `Hello from ${request.url}, made at ${new Date().toISOString()}\n`;
  cache.set(request.url, text);
  response.end(text);
});
await new Promise((resolve) => service.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', resolve));
const { port } = service.address();

/**
 * The service serves whether or not the device can enrol or connect: it must not fail with its push server.
 */
async function becomeDevice() {
  const store = await FileStore.open(process.env.STATE ?? './service-state');
  await enroll({
    server: process.env.PUSHPOINT_SERVER ?? 'http://127.0.0.1:8080',
    token: process.env.PUSHPOINT_ENROLMENT_TOKEN ?? '',
    store,
    name: 'cache-service',
  });
  // Operators reach this one port through a tunnel, and nothing else of the machine.
  const device = new PushpointDevice({ store, software: 'service/1.0', tunnels: { allow: [port] } });
  device.handle('statistics', () => ({ ...figures, cached: cache.size }));
  device.handle(
    'message',
    ({ args: { topic } }) => {
      if (topic !== 'clear-cache') throw new Rejected(`no such topic: ${topic}`);
      const cleared = cache.size;
      cache.clear();
      return { cleared };
    },
    { safeToRepeat: true },
  );
  await device.start();
  console.log(`device ${device.deviceId}, service on port ${port}`);
  return { device, store };
}

const push = await becomeDevice().catch((error) => {
  console.error(`without push: ${error.message}`);
  return undefined;
});

for (const name of ['SIGINT', 'SIGTERM']) {
  process.once(name, async () => {
    service.close();
    service.closeAllConnections();
    await push?.device.stop();
    await push?.store.close();
  });
}
