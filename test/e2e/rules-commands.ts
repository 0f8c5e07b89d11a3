import * as assert from 'uvu/assert';
import { gate, type TestDevice, usualWork, whenSettled, workFor } from './fleet.ts';
import type { LabTests } from './lab.ts';

export function commandsRules({ testLab }: LabTests): void {
  testLab('a forced sync to all succeeds on every device, and each runs it once', async (lab) => {
    const devices = await lab.fleet(60, { work: workFor(0, 200) });
    const command = await lab.operator.send('sync', devices, { all: true });
    const done = await lab.operator.finished(command.id);
    assert.is(done.counts.succeeded, 60);
    assert.is(done.counts.total, 60);
    assert.ok(devices.every((device) => device.completed(command.id) === 1));
    await whenSettled(devices, (device) => device.settled.get(command.id) === 'succeeded');
  });

  testLab('each type of command brings its own result', async (lab) => {
    const device = await lab.device();
    device.work = (command, context, self) =>
      command.type === 'statistics'
        ? { load: 0.5, disks: [{ path: '/', free: 12 }] }
        : usualWork(command, context, self);
    const results: Record<string, unknown> = {
      sync: { revision: 'r1' },
      'task.start': { exitStatus: 0, output: 'done' },
      'task.stop': { wasRunning: false },
      statistics: { load: 0.5, disks: [{ path: '/', free: 12 }] },
    };
    for (const [type, data] of Object.entries(results)) {
      const { id } = await lab.operator.send(type as 'sync', [device]);
      await lab.operator.finished(id);
      const execution = await lab.operator.execution(id, device);
      assert.is(execution.state, 'succeeded', type);
      assert.equal(execution.data, data, type);
      assert.ok(execution.sentAt && execution.ackedAt && execution.finishedAt, type);
    }
  });

  testLab('a message carries any JSON there and back', async (lab) => {
    const device = await lab.device();
    const body = { text: 'naïve ✓ 漢字', list: [1, -2.5, null, true, { deep: ['er'] }], big: 2 ** 53 - 1 };
    const { id } = await lab.operator.send('message', [device], { args: { topic: 'echo', body } });
    await lab.operator.finished(id);
    assert.equal((await lab.operator.execution(id, device)).data, { echo: body });
  });

  testLab('statistics of a fleet are each device’s own', async (lab) => {
    const devices = await lab.fleet(10);
    for (const device of devices) device.work = () => ({ name: device.name });
    const { id } = await lab.operator.send('statistics', devices);
    await lab.operator.finished(id);
    for (const device of devices) {
      assert.equal((await lab.operator.execution(id, device)).data, { name: device.name });
    }
  });

  testLab('a command to a group reaches its subgroups, and nobody else', async (lab) => {
    await lab.group('europe');
    await lab.group('berlin', 'europe');
    await lab.group('kiosks', 'berlin');
    await lab.group('asia');
    const members = [
      ...(await lab.fleet(3, { group: 'europe' })),
      ...(await lab.fleet(3, { group: 'berlin' })),
      ...(await lab.fleet(3, { group: 'kiosks' })),
    ];
    const others = [...(await lab.fleet(3, { group: 'asia' })), ...(await lab.fleet(2))];
    const { id } = await lab.operator.send('sync', members, { group: 'europe' });
    const done = await lab.operator.finished(id);
    assert.is(done.counts.succeeded, 9);
    assert.is(done.counts.total, 9);
    assert.ok(others.every((device) => device.started(id) === 0));
  });

  testLab('a device that was moved obeys its new group from then on', async (lab) => {
    await lab.group('before');
    await lab.group('after');
    const device = await lab.device({ group: 'before' });
    await lab.operator.api.request('PATCH', `/v1/devices/${device.id}`, { body: { groupId: 'after' } });
    const elsewhere = await lab.operator.send('sync', [], { group: 'before' });
    const here = await lab.operator.send('message', [device], { group: 'after' });
    assert.is((await lab.operator.finished(here.id)).counts.succeeded, 1);
    assert.is((await lab.operator.finished(elsewhere.id)).counts.total, 0);
  });

  testLab('progress is recorded while the command runs', async (lab) => {
    const device = await lab.device();
    const hold = gate();
    device.work = (command, context, self) => {
      context.progress(40, 'fetching');
      return hold.work(command, context, self);
    };
    const { id } = await lab.operator.send('task.start', [device]);
    const running = await lab.operator.reaches(id, device, 'running');
    assert.is(running.percent, 40);
    assert.is(running.note, 'fetching');
    hold.open();
    await lab.operator.reaches(id, device, 'succeeded');
  });

  testLab('a task that is started is stopped by another command', async (lab) => {
    const device = await lab.device();
    const hold = gate();
    device.work = (command, context, self: TestDevice) => {
      if (command.type === 'task.start') return hold.work(command, context, self);
      hold.open();
      return { wasRunning: true };
    };
    const start = await lab.operator.send('task.start', [device]);
    await lab.operator.reaches(start.id, device, 'running');
    const stop = await lab.operator.send('task.stop', [device]);
    await lab.operator.reaches(stop.id, device, 'succeeded');
    await lab.operator.reaches(start.id, device, 'succeeded');
  });

  testLab('R-1: a device that does not handle a type, and a handler that fails, say so', async (lab) => {
    const device = await lab.device({ handles: ['sync'] });
    const unknown = await lab.operator.send('statistics', [device]);
    await lab.operator.finished(unknown.id);
    assert.is((await lab.operator.execution(unknown.id, device)).state, 'rejected');
    assert.is((await lab.operator.execution(unknown.id, device)).reason, 'unsupported');
    device.work = () => {
      throw new Error('disk full');
    };
    const failing = await lab.operator.send('sync', [device]);
    await lab.operator.finished(failing.id);
    const failed = await lab.operator.execution(failing.id, device);
    assert.is(failed.state, 'failed');
    assert.match(failed.reason ?? '', /disk full/);
  });

  testLab('the same request with the same Idempotency-Key is one command', async (lab) => {
    const device = await lab.device();
    const request = () =>
      lab.operator.api.request<{ id: string }>('POST', '/v1/commands', {
        body: { type: 'message', args: { topic: 'once' }, target: { devices: [device.id] } },
        headers: { 'idempotency-key': 'again-and-again' },
      });
    const answers = await Promise.all(Array.from({ length: 8 }, request));
    const ids = new Set(answers.map(({ id }) => id));
    assert.is(ids.size, 1);
    const [id] = [...ids] as [string];
    await lab.operator.finished(id);
    assert.is(device.completed(id), 1);
    assert.is(device.runs.size, 1);
  });

  testLab('many commands to one device all run, in the order they were given', async (lab) => {
    const device = await lab.device({ concurrency: 1 });
    const order: string[] = [];
    device.work = (command) => void order.push(command.id);
    const ids: string[] = [];
    for (let n = 0; n < 120; n++) ids.push((await lab.operator.send('message', [device])).id);
    for (const id of ids) await lab.operator.finished(id);
    assert.equal(order, ids);
  });
}
