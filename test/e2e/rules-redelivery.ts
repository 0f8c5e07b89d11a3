import * as assert from 'uvu/assert';
import { waitFor } from '../wait.ts';
import { gate, whenSettled } from './fleet.ts';
import type { LabTests } from './lab.ts';
import { Wire } from './wire.ts';

export function redeliveryRules({ testLab }: LabTests): void {
  testLab(
    'D-4: a command that comes a second time is answered with the newest word, and not run again',
    async (lab) => {
      const wire = new Wire();
      const device = await lab.device({ wire });
      // Everything the device says of its first command is lost, until the command has come again.
      const before = wire.orders.length;
      wire.loses = ({ t }) => t !== 'prove' && t !== 'beat' && wire.orders.length < before + 2;
      const { id } = await lab.operator.send('task.start', [device]);
      await waitFor(() => device.completed(id) === 1, { what: 'the command to run' });
      const why = await lab.operator.why(device, id);
      assert.is(why.code, 'unacknowledged');
      assert.match(
        why.sentence,
        /^It was sent through gateway gw\d at \S+ and the device has not acknowledged it yet; /,
      );
      wire.cut();
      const ended = await lab.operator.reaches(id, device, 'succeeded');
      assert.ok(ended.attempts >= 2);
      assert.is(device.started(id), 1);
      assert.ok(wire.said.some(({ t, heldBack }) => t === 'result' && heldBack));
    },
  );

  testLab(
    'S-6: orders that are replayed do nothing, before and after the command is settled',
    async (lab) => {
      const wire = new Wire();
      await lab.group('moved');
      const device = await lab.device({ wire });
      const hold = gate();
      device.work = hold.work;
      const before = wire.orders.length;
      const { id } = await lab.operator.send('task.start', [device]);
      await lab.operator.reaches(id, device, 'running');
      const orders = wire.orders.slice(before);
      assert.is(orders.length, 1);
      for (const order of orders) wire.bring(order);
      hold.open();
      await waitFor(() => device.settled.has(id), { what: 'the command to be settled' });
      for (const order of orders) wire.bring(order);
      // An old membership, replayed after a newer one came.
      const memberships: string[][] = [];
      device.sdk.on('membership', ({ groups }) => memberships.push(groups));
      await lab.operator.api.request('PATCH', `/v1/devices/${device.id}`, { body: { groupId: 'moved' } });
      await waitFor(() => memberships.length === 1, { what: 'the new membership' });
      await lab.operator.api.request('PATCH', `/v1/devices/${device.id}`, { body: { groupId: 'all' } });
      await waitFor(() => memberships.length === 2, { what: 'the next membership' });
      for (const order of wire.orders) wire.bring(order);
      const next = await lab.operator.send('message', [device]);
      await lab.operator.reaches(next.id, device, 'succeeded');
      assert.is(memberships.length, 2);
      assert.is(device.started(id), 1);
    },
  );

  testLab(
    'D-3, R-1, R-6: a command to a group that ends at once costs its device one message',
    async (lab) => {
      const wire = new Wire();
      await lab.group('quick');
      const device = await lab.device({ wire, group: 'quick' });
      const before = wire.said.length;
      const { id } = await lab.operator.send('sync', [device], { group: 'quick' });
      const ended = await lab.operator.reaches(id, device, 'succeeded');
      assert.is(ended.ackedAt, ended.finishedAt);
      assert.is((await lab.operator.why(device, id)).code, 'final');
      await whenSettled([device], () => device.settled.get(id) === 'succeeded');
      const said = wire.said.slice(before).filter(({ t }) => t !== 'beat');
      assert.equal(
        said.map(({ t }) => t),
        ['result'],
      );
      assert.not.ok(wire.heard.some(({ message }) => message?.t === 'settled'));
    },
  );

  testLab('R-5, R-6: what a session is not told is reported again in the next one', async (lab) => {
    const wire = new Wire();
    await lab.group('cut');
    const device = await lab.device({ wire, group: 'cut' });
    wire.loses = ({ t }) => t === 'beat';
    const { id } = await lab.operator.send('sync', [device], { group: 'cut' });
    const ended = await lab.operator.reaches(id, device, 'succeeded');
    wire.loses = () => false;
    wire.cut();
    await waitFor(() => wire.results.length === 2, { what: 'the result to be sent again' });
    await whenSettled([device], () => device.settled.get(id) === 'succeeded');
    assert.is(device.started(id), 1);
    assert.is((await lab.operator.execution(id, device)).finishedAt, ended.finishedAt);
  });

  testLab('a result whose confirmation got lost is said again, and changes nothing', async (lab) => {
    const wire = new Wire();
    const device = await lab.device({ wire, resendAfterMs: 300 });
    const { id } = await lab.operator.send('sync', [device]);
    const first = await lab.operator.reaches(id, device, 'succeeded');
    const result = wire.said.find((message) => message.t === 'result');
    assert.ok(result);
    await device.crash();
    await device.start();
    await waitFor(() => device.settled.has(id), { what: 'the command to be settled' });
    const again = await lab.operator.execution(id, device);
    assert.is(again.finishedAt, first.finishedAt);
    assert.is(again.late, null);
  });

  testLab(
    'R-5: a result that is not settled is said again after a while, on the same session',
    async (lab) => {
      const wire = new Wire();
      const device = await lab.device({ wire, resendAfterMs: 300 });
      let lost = 0;
      wire.loses = ({ t }) => t === 'ack' || t === 'progress' || (t === 'result' && ++lost <= 1);
      const { id } = await lab.operator.send('sync', [device]);
      await lab.operator.reaches(id, device, 'succeeded');
      assert.is(device.started(id), 1);
      assert.is(device.closings.length, 0);
    },
  );

  testLab('R-3: a device that dies as it says its result has the result when it is back', async (lab) => {
    const wire = new Wire();
    const device = await lab.device({ wire });
    let crashing: Promise<void> | undefined;
    wire.loses = ({ t }) => {
      if (t === 'result') crashing ??= device.crash();
      return t === 'result';
    };
    const { id } = await lab.operator.send('task.start', [device]);
    await waitFor(() => crashing !== undefined, { what: 'the device to say its result' });
    await crashing;
    const { executions } = await device.store.load();
    const record = executions.find((row) => row.id === id);
    assert.is(record?.state, 'finished');
    wire.loses = () => false;
    await device.start();
    const ended = await lab.operator.reaches(id, device, 'succeeded');
    assert.equal(ended.data, { exitStatus: 0, output: 'done' });
    assert.is(device.started(id), 1);
  });

  testLab('R-2: a device that still speaks of what has ended is told to stop', async (lab) => {
    const wire = new Wire();
    const device = await lab.device({ wire });
    let stopped = false;
    device.work = (_command, { signal }) =>
      new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          stopped = true;
          reject(signal.reason);
        });
      });
    const { id } = await lab.operator.send('task.start', [device]);
    await lab.operator.reaches(id, device, 'running');
    // It is away while the ledger ends the execution, and hears nothing of it; the work goes on.
    wire.dialable = false;
    wire.cut();
    await lab.operator.onRecord(device, 'disconnected');
    await lab.operator.cancel(id, true);
    await lab.operator.reaches(id, device, 'canceled');
    assert.not.ok(stopped);
    wire.dialable = true;
    await waitFor(() => stopped, { what: 'the device to be told to stop' });
    await waitFor(() => device.settled.get(id) === 'canceled', { what: 'its result to be settled' });
  });

  testLab(
    'C-6: a device that leaves with 1000 is recorded as gone at once, and gets the rest when it is back',
    async (lab) => {
      const device = await lab.device();
      const gone = await lab.away(device);
      assert.is(gone.closeCode, 1000);
      const { id } = await lab.operator.send('sync', [device]);
      await device.start();
      await lab.operator.reaches(id, device, 'succeeded');
    },
  );
}
