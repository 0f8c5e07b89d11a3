// time limit: 480 s
/** Secret commands over the real programs: every device runs them, and nobody on the way can read them. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { CommandView } from '../../cli/api/views.ts';
import type { GroupKey } from '../../device/index.ts';
import { canReadMemory, foundInMemory, processTree } from '../services/process-memory.ts';
import { monitoredText } from '../services/redis-monitor.ts';
import { waitFor } from '../wait.ts';
import { type TestDevice, usualWork } from './fleet.ts';
import { type Lab, withLab } from './lab.ts';
import type { ExecutionView } from './operator.ts';

const MANY = 300;
const PASSWORD = 'correct-horse-battery-staple';
const ANSWER = 'tr0ub4dor-and-three';
const ORDINARY = 'an-ordinary-body-that-anyone-may-read';
const { testLab } = withLab({ bus: 'redis', store: 'sqlite', gateways: 2 });

const work: typeof usualWork = (command, context, device) =>
  command.secret ? { token: ANSWER, got: command.args } : usualWork(command, context, device);

/** A message to a group. */
async function message(lab: Lab, devices: readonly TestDevice[], body: string, secret: boolean) {
  const args = { topic: 'credentials', body };
  const options = { group: 'tills', args, secret };
  const command = await lab.operator.send('message', devices, options);
  return lab.operator.finished(command.id, 60_000);
}

async function groupKeys(device: TestDevice): Promise<readonly GroupKey[]> {
  return (await device.store.load()).state.groupKeys ?? [];
}

function reveal(lab: Lab, { id }: CommandView, device: TestDevice): Promise<ExecutionView> {
  return lab.operator.api.request('POST', `/v1/commands/${id}/executions/${device.id}/reveal`);
}

/** Of all files below, as one. */
function filesBelow(folder: string): Buffer {
  const names = readdirSync(folder, { recursive: true }) as string[];
  const paths = names.map((name) => join(folder, name)).filter((path) => statSync(path).isFile());
  return Buffer.concat(paths.map((path) => readFileSync(path)));
}

testLab(
  `X-7: a secret command to a group of ${MANY} ends succeeded on each, and stays secret`,
  async (lab) => {
    const { deployment } = lab;
    await lab.group('tills');
    const monitor = await monitoredText(deployment.redis);
    const devices = await lab.fleet(MANY, { group: 'tills', work });
    const [device] = devices as [TestDevice];
    await message(lab, devices, ORDINARY, false);
    const command = await message(lab, devices, PASSWORD, true);
    assert.equal([command.counts.succeeded, command.counts.total], [MANY, MANY]);
    assert.equal([command.secret, command.args], [true, 'secret']);

    const { data } = await reveal(lab, command, device);
    assert.equal(data, { token: ANSWER, got: { topic: 'credentials', body: PASSWORD } });
    const [key] = await groupKeys(device);
    assert.ok(key);
    const secrets = {
      arguments: Buffer.from(PASSWORD),
      results: Buffer.from(ANSWER),
      'the key of the group': Buffer.from(key.key),
      'the key of the group in hex': Buffer.from(Buffer.from(key.key).toString('hex')),
      'the key of the group in base64': Buffer.from(Buffer.from(key.key).toString('base64url').slice(0, 40)),
    };
    const control = { ordinary: Buffer.from(ORDINARY) };
    const found = (bytes: Buffer) =>
      Object.entries({ ...secrets, ...control }).flatMap(([name, text]) =>
        bytes.includes(text) ? [name] : [],
      );

    monitor.stop();
    assert.equal(found(monitor.text()), ['ordinary'], 'what Redis was told');
    assert.equal(found(filesBelow(deployment.redis.folder)), ['ordinary'], "Redis' files");
    assert.equal(found(filesBelow(join(deployment.folder, 'data'))), ['ordinary'], 'the database');
    assert.equal(deployment.whoSaid(PASSWORD), []);
    assert.equal(deployment.whoSaid(ANSWER), []);
    if (!canReadMemory) return;
    assert.equal(await foundInMemory(deployment.redis.pid, secrets), [], "Redis' memory");
    const gateways = deployment.gateways.map((name) => deployment.program(name).pid);
    const processes = (await Promise.all(gateways.map(processTree))).flat();
    for (const pid of processes) {
      assert.equal(await foundInMemory(pid, secrets), [], `memory of the gateway's process ${pid}`);
    }
    // The search would have found it: a worker has the ids of its devices.
    const ids = { id: Buffer.from(device.id) };
    const holders = await Promise.all(processes.map((pid) => foundInMemory(pid, ids)));
    assert.ok(holders.flat().length > 0);
  },
);

testLab('X-4, X-5: a device that left never gets the new key; devices that were away do', async (lab) => {
  await lab.group('tills');
  const devices = await lab.fleet(4, { group: 'tills', work });
  const [left, away, ...others] = devices as [TestDevice, TestDevice, TestDevice, TestDevice];
  await message(lab, devices, PASSWORD, true);
  const before = (await groupKeys(left)).at(-1);
  await lab.away(away);
  await lab.operator.api.request('PATCH', `/v1/devices/${left.id}`, { body: { groupId: 'all' } });

  const args = { topic: 'credentials', body: 'for those who stayed' };
  const members = [away, ...others];
  const command = await lab.operator.send('message', members, { group: 'tills', args, secret: true });
  for (const device of others) await lab.operator.reaches(command.id, device, 'succeeded');
  await lab.connect([away]);
  const { counts } = await lab.operator.finished(command.id);
  assert.equal([counts.succeeded, counts.total], [3, 3]);
  const after = (await groupKeys(away)).at(-1);
  assert.is(after?.number, (before?.number ?? 0) + 1);
  assert.equal((await groupKeys(left)).at(-1), before);

  // Blocked and let in again, it asks for the next key like any other.
  const [blocked] = others;
  assert.ok(blocked);
  await lab.operator.api.request('PATCH', `/v1/devices/${blocked.id}`, { body: { blocked: true } });
  await lab.operator.api.request('PATCH', `/v1/devices/${blocked.id}`, { body: { blocked: false } });
  blocked.sdk.connectNow();
  await waitFor(() => blocked.connected);
  const last = await message(lab, members, 'for all three', true);
  assert.is(last.counts.succeeded, 3);
  assert.is((await groupKeys(blocked)).at(-1)?.number, (after?.number ?? 0) + 1);
});

testLab(
  'X-7: a device that dies while it waits for its key runs the command once, when it is back',
  async (lab) => {
    await lab.group('tills');
    const [device] = (await lab.fleet(1, { group: 'tills', work })) as [TestDevice];
    const args = { topic: 'credentials', body: PASSWORD };
    const command = await lab.operator.send('message', [device], { group: 'tills', args, secret: true });
    await lab.operator.reaches(command.id, device, ['acked', 'running', 'succeeded']);
    await device.crash();
    await device.start();
    await lab.operator.finished(command.id, 30_000);
    assert.ok(device.started(command.id) <= 1);
  },
);

test.run();
