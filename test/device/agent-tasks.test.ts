// time limit: 180 s
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Agent, checkAgentConfig } from '../../device/agent/index.ts';
import { FileStore } from '../../device/index.ts';
import { type Program, startCli, startFile } from '../services/processes.ts';
import { ScriptGateway } from './script-gateway.ts';
import { until } from './until.ts';

const folders: string[] = [];

test.after(() => {
  for (const path of folders) rmSync(path, { recursive: true, force: true });
});

interface Rig {
  gw: ScriptGateway;
  folder: string;
  stateDir: string;
  file(name: string): string;
}

async function rig(): Promise<Rig> {
  const folder = mkdtempSync(join(tmpdir(), 'pushpoint-tasks-'));
  folders.push(folder);
  const gw = await ScriptGateway.start();
  const stateDir = join(folder, 'state');
  const store = await FileStore.open(stateDir);
  await store.saveState(gw.state());
  await store.close();
  return { gw, folder, stateDir, file: (name) => join(folder, name) };
}

/** An agent as a process of its own, which may be killed. */
async function agentProcess({ gw, folder, stateDir }: Rig, settings: object): Promise<Program> {
  const config = join(folder, 'agent.json');
  writeFileSync(config, JSON.stringify(settings));
  const sessions = gw.proofs;
  const agent = startCli([
    'agent',
    '--config',
    config,
    '--state',
    stateDir,
    '--server',
    'http://127.0.0.1:1',
  ]);
  await gw.session(sessions + 1);
  return agent;
}

/** The same with a pause before SIGKILL that no test waits for. */
async function patientAgent({ gw, stateDir }: Rig, settings: object): Promise<Program> {
  const sessions = gw.proofs;
  const config = { server: 'http://127.0.0.1:1', stateDir, ...settings };
  const agent = startFile('test/device/agent-process.js', [JSON.stringify(config)]);
  await gw.session(sessions + 1);
  return agent;
}

const sh = (text: string) => ({ command: '/bin/sh', args: ['-c', text] });

function alive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return !/\) [ZX] /.test(stat);
  } catch {
    return false;
  }
}

const pidIn = (path: string) =>
  until(() => (existsSync(path) && Number(readFileSync(path, 'utf8'))) || false, `a process id in ${path}`);

// biome-ignore lint/suspicious/noExplicitAny: the shape is the application's own
const dataOf = async (gw: ScriptGateway, id: string) => (await gw.last.first('result', id)).data as any;

test('D-7: the next agent ends a task of a killed one; until then the task is already running', async () => {
  const r = await rig();
  const [pid, go] = [r.file('pid'), r.file('go')];
  // It ends only when it may, however often it is asked.
  const stubborn =
    `exec >/dev/null 2>&1; trap 'while [ ! -e ${go} ]; do sleep 0.05; done; exit' TERM; echo $$ >${pid}; ` +
    'while :; do sleep 0.05; done';
  const settings = { tasks: { work: sh(stubborn) } };
  const first = await patientAgent(r, settings);
  await r.gw.sendCommand('c1', { type: 'task.start', args: { task: 'work' } });
  const left = await pidIn(pid);
  await first.kill('SIGKILL');
  const second = await patientAgent(r, settings);
  assert.is((await r.gw.last.first('result', 'c1')).reason, 'interrupted');
  await r.gw.sendCommand('c2', { type: 'task.start', args: { task: 'work' } });
  assert.is((await r.gw.last.first('result', 'c2')).reason, 'already running');
  await r.gw.sendCommand('c3', { type: 'statistics' });
  assert.equal(
    (await dataOf(r.gw, 'c3')).tasks.map(({ task }: { task: string }) => task),
    ['work'],
  );
  assert.ok(alive(left));
  writeFileSync(go, '');
  await until(() => !alive(left), 'what was left to end');
  rmSync(pid);
  let tries = 0;
  await until(async () => {
    const id = `again-${tries++}`;
    await r.gw.sendCommand(id, { type: 'task.start', args: { task: 'work' } });
    await until(() => r.gw.last.of('result', id)[0] ?? r.gw.last.of('progress', id)[0], 'an answer');
    return r.gw.last.of('result', id).length === 0;
  }, 'the name to be free again');
  const now = await pidIn(pid);
  assert.ok(alive(now));
  await second.stop();
  assert.not(alive(now), 'an agent that ends leaves nothing behind');
  await r.gw.stop();
});

test('a task configured to continue outlives the agent; the next agent takes it over', async () => {
  const r = await rig();
  const pid = r.file('pid');
  const settings = { tasks: { work: { ...sh(`echo $$ >${pid}; exec sleep 600`), keepRunning: true } } };
  const first = await agentProcess(r, settings);
  await r.gw.sendCommand('c1', { type: 'task.start', args: { task: 'work' } });
  const task = await pidIn(pid);
  await first.stop();
  assert.not.match(first.output, /ending it/, 'nothing of it keeps the agent');
  assert.ok(alive(task), 'after an orderly stop');
  const second = await agentProcess(r, settings);
  await r.gw.last.first('progress', 'c1');
  await second.kill('SIGKILL');
  assert.ok(alive(task), 'after a kill');
  const third = await agentProcess(r, settings);
  await r.gw.last.first('progress', 'c1');
  await r.gw.sendCommand('c2', { type: 'task.start', args: { task: 'work' } });
  assert.is((await r.gw.last.first('result', 'c2')).reason, 'already running');
  await r.gw.sendCommand('c3', { type: 'statistics' });
  assert.is((await dataOf(r.gw, 'c3')).tasks[0].task, 'work');
  await r.gw.sendCommand('c4', { type: 'task.stop', args: { task: 'work' } });
  assert.equal(await dataOf(r.gw, 'c4'), { wasRunning: true });
  assert.is((await r.gw.last.first('result', 'c1')).reason, 'stopped');
  assert.not(alive(task));
  await third.stop();
  await r.gw.stop();
});

test('D-6: the next agent ends a continued task whose time ran out, and its name is free', async () => {
  const r = await rig();
  const pid = r.file('pid');
  const settings = { tasks: { work: { ...sh(`echo $$ >${pid}; exec sleep 600`), keepRunning: true } } };
  const first = await agentProcess(r, settings);
  await r.gw.sendCommand('c1', { type: 'task.start', args: { task: 'work' }, timeoutMs: 30_000 });
  const task = await pidIn(pid);
  await first.stop();
  const now = Date.now();
  r.gw.time = () => now + 60_000;
  const second = await agentProcess(r, settings);
  try {
    assert.is((await r.gw.last.first('result', 'c1')).state, 'timed-out');
    await until(() => !alive(task), 'the task to be ended');
    let asked = 1;
    await until(async () => {
      const id = `c${++asked}`;
      await r.gw.sendCommand(id, { type: 'statistics' });
      return (await dataOf(r.gw, id)).tasks.length === 0;
    }, 'the name to be free again');
  } finally {
    if (alive(task)) process.kill(task, 'SIGKILL');
    await second.stop();
    await r.gw.stop();
  }
});

test('D-7: a task that was taken over and ends before there is a session is not run again', async () => {
  const r = await rig();
  const [pid, runs] = [r.file('pid'), r.file('runs')];
  const program = sh(`echo run >>${runs}; echo $$ >${pid}; exec sleep 600`);
  const settings = { tasks: { work: { ...program, keepRunning: true } } };
  const first = await agentProcess(r, settings);
  await r.gw.sendCommand('c1', { type: 'task.start', args: { task: 'work' } });
  const task = await pidIn(pid);
  await first.stop();
  let proved = false;
  r.gw.onProve = () => {
    proved = true;
  };
  const second = agentProcess(r, settings);
  await until(() => proved, 'an agent that waits for its welcome');
  process.kill(task, 'SIGKILL');
  const stored = () => JSON.parse(readFileSync(join(r.stateDir, 'tasks.json'), 'utf8'));
  await until(() => stored().length === 0, 'the end to be noticed');
  r.gw.onProve = null;
  r.gw.last.socket.terminate();
  const agent = await second;
  assert.match((await r.gw.last.first('result', 'c1')).reason ?? '', /^ended, exit status unknown/);
  assert.is(readFileSync(runs, 'utf8'), 'run\n');
  await agent.stop();
  await r.gw.stop();
});

test('a process that got the id of an ended task is left alone', async () => {
  const r = await rig();
  const stranger = startCli(['demo', '--keep', '--devices', '1', '--json']);
  // A process group of that id, whose leader began at another time than the task did.
  const record = { run: 'r1', task: 'work', command: 'c1', startedAt: 1, pgid: stranger.pid, start: '1' };
  writeFileSync(join(r.stateDir, 'tasks.json'), JSON.stringify([record]));
  const agent = await agentProcess(r, { tasks: { work: sh('exit 0') } });
  await r.gw.sendCommand('c1', { type: 'task.start', args: { task: 'work' } });
  assert.is((await r.gw.last.first('result', 'c1')).state, 'succeeded');
  assert.ok(alive(stranger.pid));
  assert.ok(stranger.running);
  await agent.stop();
  await stranger.stop();
  await r.gw.stop();
});

test('a process group that ignores SIGTERM gets SIGKILL, even after its leader has exited', async () => {
  const r = await rig();
  const tree = (name: string) =>
    sh(`(trap '' TERM; sh -c 'echo $PPID' >${r.file(name)}; while :; do sleep 0.05; done) & wait`);
  const config = checkAgentConfig({
    server: 'http://127.0.0.1:1',
    stateDir: r.stateDir,
    tasks: { stop: tree('stop'), cancel: tree('cancel'), time: tree('time') },
    sync: { ...tree('sync'), timeoutMs: 1_000 },
  });
  const agent = new Agent(config, pino({ level: 'silent' }), { killAfterMs: 200 });
  await agent.start();
  await r.gw.session();
  for (const task of ['stop', 'cancel']) {
    await r.gw.sendCommand(task, { type: 'task.start', args: { task } });
  }
  await r.gw.sendCommand('time', { type: 'task.start', args: { task: 'time' }, timeoutMs: 1_000 });
  await r.gw.sendCommand('sync', { type: 'sync' });
  const children = await Promise.all(['stop', 'cancel', 'time', 'sync'].map((name) => pidIn(r.file(name))));
  await r.gw.sendCommand('stopping', { type: 'task.stop', args: { task: 'stop' } });
  await r.gw.sendCancel('cancel');
  assert.is((await r.gw.last.first('result', 'stop')).reason, 'stopped');
  assert.equal(await dataOf(r.gw, 'stopping'), { wasRunning: true });
  assert.is((await r.gw.last.first('result', 'cancel')).state, 'canceled');
  assert.is((await r.gw.last.first('result', 'time')).state, 'timed-out');
  assert.match((await r.gw.last.first('result', 'sync')).reason ?? '', /longer than/);
  for (const [index, child] of children.entries()) {
    await until(() => !alive(child), `child ${index} to have ended`);
  }
  await agent.stop();
  await r.gw.stop();
});

test('output that is not UTF-8 is converted before it is cut; the exit status comes with it', async () => {
  const r = await rig();
  const config = checkAgentConfig({
    server: 'http://127.0.0.1:1',
    stateDir: r.stateDir,
    outputTailBytes: 16_384,
    tasks: {
      noise: {
        command: process.execPath,
        args: ['-e', 'process.stdout.write(Buffer.alloc(40000, 0xff)); process.exitCode = 7'],
      },
    },
  });
  const agent = new Agent(config, pino({ level: 'silent' }));
  await agent.start();
  await r.gw.session();
  await r.gw.sendCommand('c1', { type: 'task.start', args: { task: 'noise' } });
  const result = await r.gw.last.first('result', 'c1');
  assert.is(result.reason, 'exit status 7');
  const { exitStatus, output } = result.data as { exitStatus: number; output: string };
  assert.is(exitStatus, 7);
  assert.is(output, '\uFFFD'.repeat(Math.floor(16_384 / 3)));
  await agent.stop();
  await r.gw.stop();
});

test('D-7: a sync that ends its agent every time is run three times and then interrupted', async () => {
  const r = await rig();
  const runs = r.file('runs');
  const settings = { sync: sh(`echo run >>${runs}; kill -9 $PPID; sleep 600`) };
  let agent = await agentProcess(r, settings);
  await r.gw.sendCommand('c1', { type: 'sync' });
  for (let start = 0; start < 3; start++) {
    await agent.exited;
    agent = await agentProcess(r, settings);
  }
  assert.is((await r.gw.last.first('result', 'c1')).reason, 'interrupted');
  assert.is(readFileSync(runs, 'utf8').split('\n').length - 1, 3);
  await r.gw.sendCommand('c2', { type: 'statistics' });
  assert.equal((await dataOf(r.gw, 'c2')).tasks, []);
  await agent.stop();
  await r.gw.stop();
});

test.run();
