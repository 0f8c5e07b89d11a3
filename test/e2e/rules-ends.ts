import * as assert from 'uvu/assert';
import { waitFor } from '../wait.ts';
import { gate, workUntilStopped } from './fleet.ts';
import type { LabTests } from './lab.ts';
import { Wire } from './wire.ts';

export function endsRules({ testLab }: LabTests): void {
  testLab('a command canceled while it waits is canceled at once, and is not delivered', async (lab) => {
    const device = await lab.device();
    await lab.away(device);
    const { id } = await lab.operator.send('task.start', [device]);
    const answer = await lab.operator.cancel(id);
    assert.is(answer.counts.canceled, 1);
    await lab.connect([device]);
    const next = await lab.operator.send('message', [device]);
    await lab.operator.reaches(next.id, device, 'succeeded');
    assert.is(device.started(id), 0);
  });

  testLab(
    'D-8: a command canceled while it runs is stopped by the device, which then says canceled',
    async (lab) => {
      const device = await lab.device({ work: workUntilStopped });
      const { id } = await lab.operator.send('task.start', [device]);
      await lab.operator.reaches(id, device, 'running');
      await lab.operator.cancel(id);
      const ended = await lab.operator.reaches(id, device, 'canceled');
      assert.ok(ended.ackedAt);
      assert.is(device.completed(id), 0);
    },
  );

  testLab('a cancel reaches a device that was away when it was asked for', async (lab) => {
    const wire = new Wire();
    const device = await lab.device({ work: workUntilStopped, wire });
    const { id } = await lab.operator.send('task.start', [device]);
    await lab.operator.reaches(id, device, 'running');
    wire.dialable = false;
    wire.cut();
    await lab.operator.onRecord(device, 'disconnected');
    const answer = await lab.operator.cancel(id);
    assert.is(answer.counts.running, 1);
    wire.dialable = true;
    await lab.operator.reaches(id, device, 'canceled');
    assert.is(device.started(id), 1);
  });

  testLab(
    'R-2: canceled by force ends at once; the result that comes later is kept beside it and ' +
      'settled as canceled',
    async (lab) => {
      const hold = gate();
      const device = await lab.device({ work: hold.work });
      const { id } = await lab.operator.send('task.start', [device]);
      await lab.operator.reaches(id, device, 'running');
      const answer = await lab.operator.cancel(id, true);
      assert.is(answer.counts.canceled, 1);
      hold.open();
      await waitFor(() => device.settled.get(id), { what: 'the result to be settled' });
      assert.is(device.settled.get(id), 'canceled');
      const ended = await lab.operator.execution(id, device);
      assert.is(ended.state, 'canceled');
      const why = await lab.operator.why(device, id);
      assert.is(why.code, 'final');
      assert.match(why.sentence, /^It ended canceled at /);
    },
  );

  testLab(
    'D-6: a command that does not finish within its timeout ends as timed-out, and the device stops it',
    async (lab) => {
      const device = await lab.device({ work: workUntilStopped });
      const { id } = await lab.operator.send('task.start', [device], { timeout: 1 });
      await lab.operator.reaches(id, device, 'timed-out');
      await waitFor(() => device.settled.get(id) === 'timed-out' && device.sdk.counts().running === 0, {
        what: 'the device to have stopped it',
      });
    },
  );

  testLab(
    'R-2: a cancel of what a device has and did not acknowledge says so, and what it says later is ' +
      'kept beside it',
    async (lab) => {
      const wire = new Wire();
      const device = await lab.device({ wire });
      wire.loses = ({ t }) => t !== 'prove' && t !== 'beat';
      const { id } = await lab.operator.send('task.start', [device]);
      await waitFor(() => device.completed(id) === 1, { what: 'the command to run' });
      assert.is((await lab.operator.execution(id, device)).state, 'sent');
      await lab.operator.cancel(id);
      const ended = await lab.operator.reaches(id, device, 'canceled');
      assert.is(ended.reason, 'canceled after it was sent; the device had not acknowledged it');
      wire.loses = () => false;
      wire.cut();
      await waitFor(() => device.settled.get(id), { what: 'its result to be settled' });
      const { state, late } = await lab.operator.execution(id, device);
      assert.equal([state, late?.state, late?.inTime], ['canceled', 'succeeded', false]);
      assert.match(
        (await lab.operator.why(device, id)).sentence,
        /The device reported succeeded at \S+, after that\.$/,
      );
      const metrics = await (await fetch(`${lab.deployment.server}/metrics`)).text();
      assert.match(
        metrics,
        /pushpoint_admin_late_ends_total\{ended="canceled",late="succeeded",in_time="no"\} [1-9]/,
      );
    },
  );

  testLab('D-6: the clock runs for a device that went away in the middle', async (lab) => {
    const device = await lab.device({ work: workUntilStopped });
    const { id } = await lab.operator.send('task.start', [device], { timeout: 5 });
    await lab.operator.reaches(id, device, 'running');
    await device.crash();
    const ended = await lab.operator.reaches(id, device, 'timed-out');
    assert.is(ended.reason, 'the device did not finish in time');
    await lab.connect([device]);
    await waitFor(() => device.settled.get(id), { what: 'the interrupted execution to be settled' });
    // The first recorded end stays.
    assert.is(device.settled.get(id), 'timed-out');
    assert.is((await lab.operator.execution(id, device)).late?.state, 'failed');
  });

  testLab(
    'D-7: a device that died in the middle says interrupted, and does not run it again',
    async (lab) => {
      const device = await lab.device({ work: workUntilStopped });
      const { id } = await lab.operator.send('task.start', [device]);
      await lab.operator.reaches(id, device, 'running');
      await device.crash();
      await device.start();
      const ended = await lab.operator.reaches(id, device, 'failed');
      assert.is(ended.reason, 'interrupted');
      assert.is(device.started(id), 1);
    },
  );

  testLab('D-7: what is safe to repeat is run again by a device that died in the middle', async (lab) => {
    const device = await lab.device({ safeToRepeat: ['sync'], work: workUntilStopped });
    const { id } = await lab.operator.send('sync', [device]);
    await lab.operator.reaches(id, device, 'running');
    await device.crash();
    device.work = () => ({ revision: 'second try' });
    await device.start();
    const ended = await lab.operator.reaches(id, device, 'succeeded');
    assert.equal(ended.data, { revision: 'second try' });
    assert.is(device.started(id), 2);
    assert.is(device.completed(id), 1);
  });

  testLab(
    'D-7: what was acknowledged and not begun before the device died is begun afterwards',
    async (lab) => {
      const device = await lab.device({ concurrency: 1, work: workUntilStopped });
      const running = await lab.operator.send('task.start', [device]);
      await lab.operator.reaches(running.id, device, 'running');
      const waiting = await lab.operator.send('message', [device]);
      await lab.operator.reaches(waiting.id, device, 'acked');
      const why = await lab.operator.why(device, waiting.id);
      assert.is(why.code, 'acked');
      await device.crash();
      device.work = () => 'begun';
      await device.start();
      assert.is((await lab.operator.reaches(waiting.id, device, 'succeeded')).data, 'begun');
      assert.is((await lab.operator.reaches(running.id, device, 'failed')).reason, 'interrupted');
    },
  );
}
