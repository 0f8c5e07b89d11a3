/** A process of several devices, all with tunnels to the one exchange server it runs. */
import { enroll, MemoryStore, PushpointDevice } from '../../device/index.ts';
import { startExchangeServer } from './exchange.ts';

const [server = '', token = '', count = '1'] = process.argv.slice(2);
const { port } = await startExchangeServer();
const ids: string[] = [];
for (let i = 0; i < Number(count); i++) {
  const store = new MemoryStore();
  const { deviceId } = await enroll({ server, token, store, name: `many-${i}` });
  const device = new PushpointDevice({ store, tunnels: { allow: [port], maxTunnels: 1_000 } });
  await device.start();
  ids.push(deviceId);
}
console.log(`ready ${JSON.stringify({ ids, port })}`);
