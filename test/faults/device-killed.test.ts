import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { CommandView } from '../../cli/api/views.ts';
import type { CommandType } from '../../protocol/command-types.ts';
import { isFinal } from '../../protocol/index.ts';
import { type Lab, withLab } from '../e2e/lab.ts';
import { type Program, startFile } from '../services/processes.ts';
import { waitFor } from '../wait.ts';

const { testLab } = withLab({ bus: 'memory' });

/** A device in a process of its own, killed and started again on the same folder. */
class DeviceProcess {
  readonly #arguments: string[];
  readonly #ledger: string;
  #program: Program | undefined;
  id = '';

  constructor(server: string, token: string, folder: string) {
    this.#ledger = join(folder, 'runs');
    this.#arguments = [server, token, join(folder, 'state'), this.#ledger];
  }

  async start(): Promise<void> {
    await this.#program?.stop();
    this.#program = startFile('test/faults/device-process.js', this.#arguments);
    const line = await this.#program.waitForLine(/^ready /);
    this.id = line.slice('ready '.length);
  }

  async kill(): Promise<void> {
    await this.#program?.kill();
  }

  async stop(): Promise<void> {
    await this.#program?.stop(2_000);
  }

  async count(what: 'began' | 'ended', command: string): Promise<number> {
    const text = await readFile(this.#ledger, 'utf8').catch(() => '');
    return text.split('\n').filter((line) => line === `${what} ${command}`).length;
  }
}

async function withProcess(lab: Lab, body: (device: DeviceProcess) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'device-'));
  const token = await lab.operator.enrolmentToken('all', 1);
  const device = new DeviceProcess(lab.deployment.server, token, folder);
  try {
    await device.start();
    await body(device);
  } finally {
    await device.stop();
    await lab.operator.api.request('DELETE', `/v1/devices/${device.id}`);
    await rm(folder, { recursive: true, force: true });
  }
}

function send(lab: Lab, type: CommandType, device: DeviceProcess): Promise<CommandView> {
  const args = { message: { topic: 'test' }, 'task.start': { task: 'backup' } }[type as string] ?? {};
  return lab.operator.api.request('POST', '/v1/commands', {
    body: { type, args, target: { devices: [device.id] }, collapseKey: null },
  });
}

async function ended(lab: Lab, command: CommandView) {
  await lab.operator.finished(command.id, 30_000);
  const [execution] = await lab.operator.executions(command.id);
  if (!execution) throw new Error(`${command.id} has no execution`);
  return execution;
}

testLab(
  'D-7: a device killed with -9 in the middle of a task says interrupted when it is back, and has not ' +
    'run it again',
  async (lab) => {
    await withProcess(lab, async (device) => {
      const command = await send(lab, 'task.start', device);
      await waitFor(async () => (await device.count('began', command.id)) === 1, {
        what: 'the task to begin',
      });
      await device.kill();
      await device.start();
      const execution = await ended(lab, command);
      assert.is(execution.state, 'failed');
      assert.is(execution.reason, 'interrupted');
      assert.is(await device.count('began', command.id), 1);
      assert.is(await device.count('ended', command.id), 0);
    });
  },
);

testLab('D-7: a sync that is safe to repeat is begun again, and ends once', async (lab) => {
  await withProcess(lab, async (device) => {
    const command = await send(lab, 'sync', device);
    await waitFor(async () => (await device.count('began', command.id)) === 1, { what: 'the sync to begin' });
    await device.kill();
    await device.start();
    assert.is((await ended(lab, command)).state, 'succeeded');
    assert.is(await device.count('began', command.id), 2);
    assert.is(await device.count('ended', command.id), 1);
  });
});

testLab(
  'D-3: killed with -9 again and again under a stream of commands, a device runs each at most once and ' +
    'every one ends',
  async (lab) => {
    await withProcess(lab, async (device) => {
      const commands: CommandView[] = [];
      for (let round = 0; round < 6; round++) {
        for (let n = 0; n < 25; n++) commands.push(await send(lab, 'message', device));
        await waitFor(async () => (await device.count('began', commands.at(-25)?.id ?? '')) > 0, {
          what: 'the first of this round to begin',
        });
        await device.kill();
        await device.start();
      }
      const states = new Map<string, number>();
      for (const command of commands) {
        const execution = await ended(lab, command);
        states.set(execution.state, (states.get(execution.state) ?? 0) + 1);
        const began = await device.count('began', command.id);
        const done = await device.count('ended', command.id);
        const { state, reason } = execution;
        const where = `${command.id}: ${state} (${reason}), began ${began}, ended ${done}`;
        assert.ok(isFinal(execution.state), where);
        assert.ok(began <= 1, where);
        if (execution.state === 'succeeded') assert.is(done, 1, where);
        else assert.is(execution.reason, 'interrupted', where);
      }
      assert.ok((states.get('succeeded') ?? 0) >= 100, JSON.stringify([...states]));
    });
  },
);

test.run();
