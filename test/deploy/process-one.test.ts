import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { FileStore } from '../../device/index.ts';
import { ScriptGateway } from '../device/script-gateway.ts';
import { findPrograms, installPackage } from '../services/install.ts';
import { Program } from '../services/processes.ts';
import { waitFor } from '../wait.ts';
import { read } from './deploy-files.ts';

const MAIN = fileURLToPath(new URL('../../cli/main.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'pushpoint-one-'));

test.after(() => rmSync(folder, { recursive: true, force: true }));

/** What stands before the program in the image. */
async function initOfTheImage(): Promise<string[]> {
  const entry = /^ENTRYPOINT (\[.*\])$/m.exec(read('deploy/container/Containerfile'))?.[1] ?? '[]';
  const before = (JSON.parse(entry) as string[]).slice(0, -1);
  const name = before[0]?.split('/').at(-1) ?? '';
  const folders = ['/usr/bin'];
  if (name !== '' && !(await findPrograms([name], folders))) await installPackage(name, `${name} by hand`);
  return before;
}

/**
 * An agent in a process namespace of its own, as in a container, with a task that leaves a process behind.
 */
async function agentAsProcessOne(name: string, before: string[]): Promise<{ agent: Program; one: number }> {
  const gw = await ScriptGateway.start();
  const stateDir = join(folder, name);
  const store = await FileStore.open(stateDir);
  await store.saveState(gw.state());
  await store.close();
  // Its leader ends at once, so that what it began belongs to process 1.
  const [done, config] = [join(folder, `${name}-done`), join(folder, `${name}.json`)];
  const command = `(sh -c 'sleep 0.2; echo >${done}' >/dev/null 2>&1 &) ; exit 0`;
  writeFileSync(config, JSON.stringify({ tasks: { leave: { command: '/bin/sh', args: ['-c', command] } } }));
  const agent = new Program(
    'unshare',
    [
      ...['--pid', '--fork', '--kill-child', '--mount-proc', ...before, process.execPath, MAIN, 'agent'],
      ...['--config', config, '--state', stateDir, '--server', 'http://127.0.0.1:1'],
    ],
    {},
  );
  await gw.session();
  await gw.sendCommand('c1', { type: 'task.start', args: { task: 'leave' } });
  assert.is((await gw.last.first('result', 'c1')).state, 'succeeded');
  await waitFor(() => existsSync(done), { what: 'what the task left to end' });
  const [one = 0] = childrenOf(agent.pid);
  await gw.stop();
  return { agent, one };
}

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number);
}

const ended = (pid: number) => /\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));

test('in a container what tasks leave behind is reaped: the image starts with an init', async () => {
  const { agent, one } = await agentAsProcessOne('image', await initOfTheImage());
  await waitFor(
    () =>
      childrenOf(one)
        .filter((pid) => pid > 0)
        .every((pid) => !ended(pid)),
    {
      what: 'no process that ended and was not reaped',
    },
  );
  assert.not.match(agent.output, /process 1/);
  await agent.killGroup();
});

test('an agent that is process 1 itself warns that it cannot', async () => {
  const { agent } = await agentAsProcessOne('bare', []);
  assert.match(agent.output, /this is process 1/);
  await agent.killGroup();
});

test.run();
