import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { forEachAtOnce } from '../../cli/for-each-at-once.ts';
import { Agent, checkAgentConfig } from '../../device/agent/index.ts';
import { withLab } from '../e2e/lab.ts';
import { type Program, startCli } from '../services/processes.ts';
import { waitFor } from '../wait.ts';

const PROCESSES = 10;
const AGENTS = 200;
const { testLab } = withLab({ bus: 'redis' });

interface SomeAgent {
  folder: string;
  stop(): Promise<unknown>;
}

/** What the hook of each agent's sync does: it notes that it ran, and takes a moment. */
function syncHook(folder: string) {
  return { command: '/bin/sh', args: ['-c', `echo ran >> '${folder}/runs'; sleep 1`] };
}

async function startAgents(server: string, token: string, folder: string): Promise<SomeAgent[]> {
  const agents: SomeAgent[] = [];
  const numbers = Array.from({ length: AGENTS }, (_, n) => n);
  await forEachAtOnce(numbers, 16, async (n) => {
    const own = join(folder, `agent-${n}`);
    await mkdir(own);
    const settings = { server, token, name: `agent-${n}` };
    const stateDir = join(own, 'state');
    if (n < PROCESSES) {
      const file = join(own, 'agent.yaml');
      await writeFile(file, JSON.stringify({ ...settings, state: stateDir, sync: syncHook(own) }));
      const program: Program = startCli(['agent', '--config', file, '--log-level', 'warn']);
      agents.push({ folder: own, stop: () => program.stop() });
      await program.waitForLine(/^ready /, 60_000);
    } else {
      const agent = new Agent(
        checkAgentConfig({ ...settings, stateDir, sync: syncHook(own) }),
        pino({ level: 'silent' }),
      );
      agents.push({ folder: own, stop: () => agent.stop() });
      await agent.start();
    }
  });
  return agents;
}

async function runsOf(agents: readonly SomeAgent[]): Promise<number[]> {
  return Promise.all(
    agents.map(async ({ folder }) => {
      const text = await readFile(join(folder, 'runs'), 'utf8').catch(() => '');
      return text.split('\n').length - 1;
    }),
  );
}

testLab(
  '200 agents on two gateways: a forced sync to all succeeds, and so does the next although a gateway ' +
    'is killed',
  async (lab) => {
    const folder = await mkdtemp(join(tmpdir(), 'agents-'));
    const token = await lab.operator.enrolmentToken('all', AGENTS);
    const agents = await startAgents(lab.deployment.server, token, folder);
    try {
      await lab.operator.connected(AGENTS);
      const sync = () =>
        lab.operator.api.request<{ id: string }>('POST', '/v1/commands', {
          body: { type: 'sync', target: { all: true } },
        });
      const first = await lab.operator.finished((await sync()).id, 60_000);
      assert.is(first.counts.succeeded, AGENTS);
      assert.equal(new Set(await runsOf(agents)), new Set([1]));

      const second = await sync();
      await waitFor(async () => (await runsOf(agents)).some((runs) => runs === 2), {
        what: 'the second sync to begin',
      });
      const { items } = await lab.operator.gateways();
      assert.ok(items.every(({ connections }) => connections > 0));
      await lab.deployment.kill('gw1');
      const done = await lab.operator.finished(second.id, 90_000);
      assert.is(done.counts.succeeded, AGENTS);
      assert.equal(new Set(await runsOf(agents)), new Set([2]));
    } finally {
      await Promise.all(agents.map((agent) => agent.stop()));
      await rm(folder, { recursive: true, force: true });
    }
  },
);

test.run();
