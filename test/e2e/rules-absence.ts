import * as assert from 'uvu/assert';
import { waitFor } from '../wait.ts';
import { workUntilStopped } from './fleet.ts';
import type { LabTests } from './lab.ts';

export function absenceRules({ testLab }: LabTests): void {
  testLab('a command for a device that is away waits, and runs once when it is back', async (lab) => {
    const device = await lab.device();
    await lab.away(device);
    const { id } = await lab.operator.send('task.start', [device]);
    const why = await lab.operator.why(device, id);
    assert.is(why.code, 'offline');
    assert.match(why.sentence, /^The device has been offline since \S+ \(its last session ended with 1000, /);
    assert.is((await lab.operator.execution(id, device)).state, 'queued');
    await device.start();
    await lab.operator.reaches(id, device, 'succeeded');
    assert.is(device.started(id), 1);
  });

  testLab('a command for a device that never connected says so, and waits', async (lab) => {
    const [device] = await lab.enrolled(1);
    if (!device) throw new Error('no device');
    const { id } = await lab.operator.send('sync', [device]);
    const why = await lab.operator.why(device, id);
    assert.is(why.code, 'offline');
    assert.match(why.sentence, /^The device has never connected\./);
    await device.start();
    await lab.operator.reaches(id, device, 'succeeded');
  });

  testLab('`offline: skip` ends at once for whom nobody holds, and runs for the others', async (lab) => {
    const [here, away] = await lab.fleet(2);
    if (!here || !away) throw new Error('no devices');
    await lab.away(away);
    const { id } = await lab.operator.send('message', [here, away], { offline: 'skip' });
    await lab.operator.finished(id);
    assert.is((await lab.operator.execution(id, here)).state, 'succeeded');
    const skipped = await lab.operator.execution(id, away);
    assert.is(skipped.state, 'canceled');
    assert.is(skipped.reason, 'device offline');
    await lab.connect([away]);
    assert.is(away.started(id), 0);
  });

  testLab(
    'a command that was not delivered within its ttl expires, and does not run afterwards',
    async (lab) => {
      const device = await lab.device();
      await lab.away(device);
      const { id } = await lab.operator.send('message', [device], { ttl: 1 });
      const expired = await lab.operator.reaches(id, device, 'expired');
      assert.is(expired.reason, 'not delivered in time');
      const why = await lab.operator.why(device, id);
      assert.is(why.code, 'final');
      assert.match(why.sentence, /^It ended expired at \S+: not delivered in time\./);
      await lab.connect([device]);
      const next = await lab.operator.send('message', [device]);
      await lab.operator.reaches(next.id, device, 'succeeded');
      assert.is(device.started(id), 0);
    },
  );

  testLab('a newer command with the same collapse key supersedes the older one that waits', async (lab) => {
    const device = await lab.device();
    await lab.away(device);
    const first = await lab.operator.send('sync', [device]);
    const second = await lab.operator.send('sync', [device]);
    const apart = await lab.operator.send('sync', [device], { collapseKey: null });
    const third = await lab.operator.send('sync', [device]);
    for (const { id } of [first, second]) await lab.operator.reaches(id, device, 'superseded');
    await device.start();
    for (const { id } of [apart, third]) await lab.operator.reaches(id, device, 'succeeded');
    assert.is(device.started(first.id) + device.started(second.id), 0);
  });

  testLab('what runs is not superseded by a newer command', async (lab) => {
    const device = await lab.device({ work: workUntilStopped });
    const first = await lab.operator.send('sync', [device]);
    await lab.operator.reaches(first.id, device, 'running');
    const why = await lab.operator.why(device, first.id);
    assert.is(why.code, 'running');
    assert.match(why.sentence, /^The device has said that it runs it since \S+; it has until \S+\.$/);
    const second = await lab.operator.send('sync', [device]);
    await lab.operator.reaches(second.id, device, ['acked', 'running']);
    assert.is((await lab.operator.execution(first.id, device)).state, 'running');
    for (const { id } of [first, second]) {
      await lab.operator.cancel(id);
      await lab.operator.reaches(id, device, 'canceled');
    }
  });

  testLab(
    'what waits for a device that is blocked goes on waiting; a new command for it ends at once',
    async (lab) => {
      const device = await lab.device();
      await lab.away(device);
      const { id } = await lab.operator.send('message', [device]);
      const block = (blocked: boolean) =>
        lab.operator.api.request('PATCH', `/v1/devices/${device.id}`, { body: { blocked } });
      await block(true);
      const why = await lab.operator.why(device, id);
      assert.is(why.code, 'blocked');
      assert.match(why.sentence, /^The device has been blocked since \S+; blocked devices get no commands\./);
      const refused = await lab.operator.send('message', [device]);
      assert.is((await lab.operator.reaches(refused.id, device, 'canceled')).reason, 'device blocked');
      await device.start();
      await waitFor(() => device.closings.some(({ code }) => code === 4404), {
        what: 'the device to be refused',
      });
      assert.is((await lab.operator.execution(id, device)).state, 'queued');
      await block(false);
      device.sdk.connectNow();
      await lab.operator.reaches(id, device, 'succeeded');
    },
  );

  testLab('a device that is blocked in the middle of a session is sent away, and stays away', async (lab) => {
    const device = await lab.device();
    await lab.operator.api.request('PATCH', `/v1/devices/${device.id}`, { body: { blocked: true } });
    await waitFor(() => device.closings.length > 0, { what: 'the session to end' });
    assert.is(device.closings[0]?.code, 4404);
  });

  testLab('a deleted device ends what was open for it', async (lab) => {
    const device = await lab.device();
    await lab.away(device);
    const { id } = await lab.operator.send('sync', [device]);
    await lab.operator.api.request('DELETE', `/v1/devices/${device.id}`);
    lab.devices.length = 0;
    const ended = await lab.operator.reaches(id, device, 'canceled');
    assert.is(ended.reason, 'device deleted');
  });
}
