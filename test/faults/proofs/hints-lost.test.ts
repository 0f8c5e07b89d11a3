import { Redis } from 'ioredis';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RedisBus } from '../../../bus/redis/redis-bus.ts';
import { encodeGatewayMessage } from '../../../protocol/index.ts';
import { connectDevice } from '../../gateway/raw-device.ts';
import { CuttableBus, Rig } from '../../gateway/rig.ts';
import { startRedis } from '../../services/redis.ts';
import { random } from './seed.ts';

const MOST = 5;

test('a delivery that nobody hints at arrives', async () => {
  const server = await startRedis();
  const redis = new Redis(server.url);
  const bus = new CuttableBus(new RedisBus({ url: server.url }));
  await bus.start();
  const rig = new Rig({ bus });
  try {
    await rig.start({});
    const identity = await rig.enrol();
    const { device } = await connectDevice(rig.url, identity);
    // From here on nobody can subscribe, so no hint arrives by luck.
    await redis.call('acl', 'setuser', 'default', '-subscribe', '-ssubscribe', '-psubscribe');
    await redis.call('client', 'kill', 'type', 'pubsub');
    const ids = Array.from({ length: 1 + random.below(MOST) }, (_, n) => `c${n}`);
    for (const id of ids) {
      const frame = encodeGatewayMessage({ t: 'settled', id, state: 'succeeded' });
      await bus.outboxes.append(await rig.incarnation(), [{ devices: [identity.id], frame, commandId: id }]);
    }
    for (const id of ids) assert.is((await device.take('settled')).id, id);
  } finally {
    await rig.stop();
    await bus.stop();
    redis.disconnect();
    await server.stop();
  }
});

test.run();
