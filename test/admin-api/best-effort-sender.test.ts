import { pino } from 'pino';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { BestEffortSender } from '../../admin-api/best-effort-sender.ts';
import type { Delivery, Lease } from '../../bus/bus.ts';
import { MemoryBus } from '../../bus/memory-bus.ts';
import { identity, load } from '../bus/samples.ts';

test('letters go to the worker they name, or to the one that holds the device', async () => {
  const bus = new MemoryBus();
  await bus.start();
  try {
    const named = await bus.leases.acquire({ ...identity, worker: 'gw1/0' }, load, 60_000);
    const holder = await bus.leases.acquire({ ...identity, worker: 'gw1/1' }, load, 60_000);
    await bus.presence.claim(holder, [{ device: 'd1' }, { device: 'd2' }]);
    const live = await bus.leases.list();
    // Of a worker that was started again, its former lease may be listed for a while.
    const former = { incarnation: 'former', identity: { ...identity, worker: 'gw1/0' }, since: 0 };
    const leases = { known: true, list: () => [...live, former as Lease] };
    const sender = new BestEffortSender({ bus, leases, log: pino({ level: 'silent' }) });
    const settled = { id: 'c1', state: 'succeeded' as const };
    const frame = new Uint8Array([1]);
    await sender.send([
      { devices: ['d1', 'd2'], worker: 'gw1/0', settled },
      { devices: ['d1'], worker: 'gw9/0', frame },
      { devices: ['d2', 'd3'], frame },
    ]);
    const outbox = async (incarnation: string): Promise<Delivery[]> =>
      (await bus.outboxes.read(incarnation, null, 10)).entries.map(({ delivery }) => delivery);
    assert.equal(await outbox(named), [{ devices: ['d1', 'd2'], settled }]);
    assert.equal(await outbox(holder), [
      { devices: ['d1'], frame },
      { devices: ['d2'], frame },
    ]);
  } finally {
    await bus.stop();
  }
});

test.run();
