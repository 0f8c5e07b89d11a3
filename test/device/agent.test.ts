import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Agent, type AgentConfig, checkAgentConfig } from '../../device/agent/index.ts';
import { FileStore, FolderInUse } from '../../device/index.ts';
import type { DeviceState } from '../../device/storage/store.ts';
import type { GatewayAddress } from '../../protocol/index.ts';
import { type Asked, enrolment, located, scriptAdmin, TOKEN } from './script-admin.ts';
import { ScriptGateway } from './script-gateway.ts';
import { until } from './until.ts';

const log = pino({ level: 'silent' });
const reconnect = { baseMs: 10, capMs: 50, nowJitterMs: 5 };
const node = process.execPath;
const folders: string[] = [];

/** A program that prints, and ends when it is told to, or by itself. */
function script(text: string): { command: string; args: string[] } {
  return { command: node, args: ['-e', text] };
}

async function running(config: Partial<Record<keyof AgentConfig, unknown>> = {}, gateway?: ScriptGateway) {
  const gw = gateway ?? (await ScriptGateway.start());
  const home = mkdtempSync(join(tmpdir(), 'pushpoint-agent-'));
  folders.push(home);
  const stateDir = join(home, 'state');
  const store = await FileStore.open(stateDir);
  await store.saveState(gw.state());
  await store.close();
  const checked = checkAgentConfig({ server: 'http://127.0.0.1:1', stateDir, ...config });
  const a = {
    gw,
    home,
    checked,
    agent: new Agent(checked, log, { reconnect }),
    async send(id: string, type: string, args: unknown = {}) {
      await gw.sendCommand(id, { type, args });
    },
    result: (id: string) => gw.last.first('result', id),
    async restart() {
      const sessions = gw.proofs;
      a.agent = new Agent(checked, log, { reconnect });
      await a.agent.start();
      await gw.session(sessions + 1);
    },
    async end() {
      await a.agent.stop(500);
      await gw.stop();
    },
  };
  await a.agent.start();
  await gw.session();
  return a;
}

function dead(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return false;
  } catch {
    return true;
  }
}

test('task.start reports the exit status and the tail of the output', async () => {
  const a = await running({
    outputTailBytes: 20,
    tasks: {
      good: script('process.stdout.write("x".repeat(5000) + "\\0é".repeat(5) + "end")'),
      bad: script('console.error("no"); process.exit(3)'),
      missing: { command: '/no/such/program' },
      killed: script('process.kill(process.pid, "SIGKILL")'),
    },
  });
  for (const task of ['good', 'bad', 'missing', 'killed']) await a.send(task, 'task.start', { task });
  const good = await a.result('good');
  assert.is(good.state, 'succeeded');
  assert.equal(good.data, { exitStatus: 0, output: 'xxéééééend' });
  const bad = await a.result('bad');
  assert.is(bad.state, 'failed');
  assert.is(bad.reason, 'exit status 3');
  assert.equal(bad.data, { exitStatus: 3, output: 'no\n' });
  assert.match((await a.result('missing')).reason as string, /cannot be started: ENOENT/);
  assert.is((await a.result('killed')).reason, 'signal SIGKILL');
  await a.end();
});

test('only tasks of the configuration are run, each once at a time', async () => {
  const a = await running({ tasks: { wait: script('setInterval(() => {}, 1000)') } });
  await a.send('c1', 'task.start', { task: 'rm' });
  assert.is((await a.result('c1')).reason, 'no such task');
  await a.send('c2', 'task.start', { task: 'toString' });
  assert.is((await a.result('c2')).reason, 'no such task');
  await a.send('c3', 'task.start', {});
  assert.match((await a.result('c3')).reason as string, /^arguments/);
  await a.send('c4', 'task.start', { task: 'wait' });
  await a.gw.last.first('progress', 'c4');
  await a.send('c5', 'task.start', { task: 'wait' });
  const second = await a.result('c5');
  assert.is(second.state, 'rejected');
  assert.is(second.reason, 'already running');
  await a.end();
});

test('task.stop ends the whole process group; the stopped execution failed with reason stopped', async () => {
  const a = await running({
    tasks: {
      tree: script(
        'const c = require("child_process").spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"]);' +
          'require("fs").writeFileSync(process.env.PIDS, process.pid + " " + c.pid); setInterval(() => ' +
          '{}, 1000)',
      ),
    },
  });
  const pids = join(a.home, 'pids');
  (a.checked.tasks.tree as { env?: object }).env = { PIDS: pids };
  await a.send('c1', 'task.stop', { task: 'tree' });
  assert.equal((await a.result('c1')).data, { wasRunning: false });
  await a.send('c2', 'task.start', { task: 'tree' });
  const [parent, child] = await until(() => {
    try {
      const found = readFileSync(pids, 'utf8').split(' ').map(Number);
      return found.length === 2 && found;
    } catch {
      return false;
    }
  }, 'the task to run');
  await a.send('c3', 'task.stop', { task: 'tree' });
  assert.equal((await a.result('c3')).data, { wasRunning: true });
  const stopped = await a.result('c2');
  assert.is(stopped.state, 'failed');
  assert.is(stopped.reason, 'stopped');
  await until(() => dead(parent as number) && dead(child as number), 'both processes to be gone');
  await a.end();
});

test('a canceled task is ended and reported canceled, a late one timed-out', async () => {
  const a = await running({
    tasks: { a: script('setInterval(() => {}, 1000)'), b: script('setInterval(() => {}, 1000)') },
  });
  await a.send('c1', 'task.start', { task: 'a' });
  await a.gw.last.first('progress', 'c1');
  await a.gw.sendCancel('c1');
  const canceled = await a.result('c1');
  assert.is(canceled.state, 'canceled');
  await a.gw.sendCommand('c2', { type: 'task.start', args: { task: 'b' }, timeoutMs: 300 });
  assert.is((await a.result('c2')).state, 'timed-out');
  await a.end();
});

test('sync runs the hook, and succeeds without one', async () => {
  const a = await running();
  await a.send('c1', 'sync');
  assert.equal((await a.result('c1')).data, { output: 'no hook configured' });
  await a.end();
  process.env.PUSHPOINT_TOKEN = 'secret';
  const b = await running({ sync: script('console.log("synced", process.env.PUSHPOINT_TOKEN)') });
  await b.send('c1', 'sync');
  assert.equal((await b.result('c1')).data, { exitStatus: 0, output: 'synced undefined\n' });
  delete process.env.PUSHPOINT_TOKEN;
  await b.end();
  const c = await running({ sync: { ...script('setInterval(() => {}, 1000)'), timeoutMs: 100 } });
  await c.send('c1', 'sync');
  const late = await c.result('c1');
  assert.is(late.state, 'failed');
  assert.match(late.reason as string, /longer than 100 ms/);
  await c.end();
});

test('statistics are the real figures', async () => {
  const a = await running({ tasks: { wait: script('setInterval(() => {}, 1000)') } });
  await a.send('c1', 'task.start', { task: 'wait' });
  await a.gw.last.first('progress', 'c1');
  await a.send('c2', 'statistics');
  // biome-ignore lint/suspicious/noExplicitAny: the shape is the application's own
  const data = (await a.result('c2')).data as any;
  assert.is(data.hostname, hostname());
  assert.ok(data.memory.free > 0 && data.memory.free < data.memory.total);
  assert.ok(data.disk.free > 0 && data.disk.free <= data.disk.total);
  assert.ok(data.agent.rss > 10_000_000);
  assert.is(data.loadAverage.length, 3);
  assert.is(data.tasks[0].task, 'wait');
  assert.is(data.executions.running, 2);
  assert.is(data.connection.gateway, 'gw-1');
  await a.end();
});

test('D-7: a task that ran when the agent stopped is interrupted at the next start', async () => {
  const a = await running({ tasks: { wait: script('setInterval(() => {}, 1000)') } });
  await a.send('c1', 'task.start', { task: 'wait' });
  await a.gw.last.first('progress', 'c1');
  await Promise.all([a.agent.stop(1_000), a.agent.stop()]);
  await a.restart();
  const result = await a.result('c1');
  assert.is(result.state, 'failed');
  assert.is(result.reason, 'interrupted');
  await a.end();
});

test('a second agent in the same folder does not start', async () => {
  const a = await running();
  const second = new Agent(a.checked, log, { reconnect });
  assert.instance(await second.start().catch((error) => error), FolderInUse);
  await second.stop();
  await a.end();
});

test('S-8: an agent whose device was deleted ends and says so; a close code cannot do that', async () => {
  const a = await running();
  await until(() => a.agent.device?.session, 'the session');
  a.gw.last.socket.close(4402, 'no such device');
  await until(() => a.agent.device?.session === null, 'the end of the session');
  a.agent.device?.connectNow();
  await a.gw.session(2);
  await a.gw.sendMembership(9, [], 1, { state: 'deleted' });
  assert.match((await a.agent.ended).reason, /was deleted/);
  await a.end();
});

test('S-8: an agent whose device moved ends and says where it belongs, after a restart too', async () => {
  const a = await running();
  const to = { fingerprint: new Uint8Array(32).fill(7), url: 'https://push.example.org' };
  await a.gw.sendMembership(9, [], 1, { state: 'moved', to });
  const said = /https:\/\/push.example.org, fingerprint BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc\./;
  assert.match((await a.agent.ended).reason, said);
  await a.agent.stop(500);
  a.agent = new Agent(a.checked, log, { reconnect });
  await a.agent.start();
  assert.match((await a.agent.ended).reason, said);
  assert.is(a.gw.proofs, 1);
  await a.end();
});

test('an agent without a token, or stopped while its server is away, does not enrol', async () => {
  const stateDir = mkdtempSync(join(tmpdir(), 'pushpoint-agent-'));
  folders.push(stateDir);
  const plain = new Agent(checkAgentConfig({ server: 'http://127.0.0.1:1', stateDir }), log);
  assert.match((await plain.start().catch((error) => error)).message, /token is needed/);
  const config = checkAgentConfig({ server: 'http://127.0.0.1:1', stateDir, token: TOKEN });
  const waiting = new Agent(config, log);
  const started = waiting.start().catch((error) => error);
  await waiting.stop();
  assert.instance(await started, Error);
});

/** An agent whose state is this when it starts. */
async function startAgent(server: string, state: DeviceState): Promise<Agent> {
  const home = mkdtempSync(join(tmpdir(), 'pushpoint-agent-'));
  folders.push(home);
  const stateDir = join(home, 'state');
  const store = await FileStore.open(stateDir);
  await store.saveState(state);
  await store.close();
  const agent = new Agent(checkAgentConfig({ server, stateDir, token: TOKEN }), log, { reconnect });
  await agent.start();
  return agent;
}

test('E-6: an agent behind a login page asks on until the server itself answers', async () => {
  const gw = await ScriptGateway.start();
  const onTheWay = [
    { status: 200, headers: { 'content-type': 'text/html' }, body: '<html>Log in</html>' },
    { status: 403, headers: { 'content-type': 'text/html' }, body: '<html>Not from here</html>' },
    { status: 451, body: 'null' },
    { status: 405, body: { message: 'no such method' } },
    // Nobody signed it.
    { status: 410, body: { code: 'gone', detail: 'the token was revoked' } },
  ];
  const good = (asked: Asked, serverKey = gw.serverKey) =>
    enrolment(asked, { serverKey, gateways: [gw.address] });
  const admin = await scriptAdmin(async (asked) => {
    const other = onTheWay.shift();
    if (other) return other;
    // Signed by somebody else first.
    const { sig } = await good(asked, gw.deviceKey);
    return { status: 201, body: { ...(await good(asked)), ...(admin.asked.length === 6 && { sig }) } };
  });
  const agent = await startAgent(admin.url, { key: gw.deviceKey, gateways: [] });
  await gw.session();
  assert.is(admin.asked.length, 7);
  await agent.stop();
  await admin.stop();
  await gw.stop();
});

test('E-6: an agent that gets 404 says what to correct, asks again, and enrols in the end', async () => {
  const bodies = ['<html>Not Found</html>', { detail: 'Not Found' }, { code: 'not-found' }];
  const admin = await scriptAdmin(async (asked) => {
    const body = bodies.shift();
    return body ? { status: 404, body } : { status: 201, body: await enrolment(asked) };
  });
  const stateDir = join(mkdtempSync(join(tmpdir(), 'pushpoint-agent-')), 'state');
  folders.push(join(stateDir, '..'));
  const lines: { server?: string; remedy?: string }[] = [];
  const heard = pino({ level: 'error' }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  const agent = new Agent(checkAgentConfig({ server: admin.url, stateDir, token: TOKEN }), heard, {
    reconnect,
  });
  await agent.start();
  assert.is(admin.asked.length, 4);
  assert.is(lines.length, 3);
  for (const { server, remedy } of lines) {
    assert.is(server, admin.url);
    assert.match(remedy ?? '', /HTTP 404.*--server/);
  }
  await agent.stop();
  await admin.stop();
});

test('G-16: an agent that is enrolled goes on, whatever answers in place of its server', async () => {
  const gw = await ScriptGateway.start();
  let away = true;
  const admin = await scriptAdmin(async (asked) =>
    away
      ? { status: 404, body: '<html>Not Found</html>' }
      : located(gw.serverKey, gw.deviceKey, asked, [gw.address]),
  );
  const agent = await startAgent(admin.url, { ...gw.state(), gateways: [] });
  await until(() => admin.asked.length >= 4, 'it to ask again');
  away = false;
  await gw.session();
  await agent.stop();
  await admin.stop();
  await gw.stop();
});

test('E-7, G-16: an agent enrolled before any gateway exists keeps asking, then connects', async () => {
  const gw = await ScriptGateway.start();
  let known: GatewayAddress[] = [];
  const admin = await scriptAdmin(async (asked) =>
    asked.url === '/v1/locate'
      ? located(gw.serverKey, gw.deviceKey, asked, known)
      : { status: 201, body: await enrolment(asked, { serverKey: gw.serverKey, gateways: [] }) },
  );
  const agent = await startAgent(admin.url, { key: gw.deviceKey, gateways: [] });
  await until(() => admin.asked.length >= 6, 'an agent without gateways to ask again');
  assert.is(admin.asked.filter(({ url }) => url === '/v1/enroll').length, 1);
  known = [gw.address];
  await gw.session();
  await agent.stop();
  await admin.stop();
  await gw.stop();
});

test('a configuration is checked as a whole', () => {
  const good = checkAgentConfig({ server: 'https://a', tasks: { t: { command: 'x' } } });
  assert.is(good.name, hostname());
  assert.equal(good.tasks, { t: { command: 'x', args: [] } });
  try {
    checkAgentConfig({
      server: 'ftp://a',
      extra: 1,
      tasks: { '../t': { command: 'x' }, u: { args: 'x', shell: true } },
      outputTailBytes: 99_999,
    });
    assert.unreachable();
  } catch (error) {
    const lines = (error as Error).message.split('\n').map((line) => line.split(':')[0]);
    assert.equal(lines.sort(), [
      'extra',
      'outputTailBytes',
      'server',
      'tasks.../t',
      'tasks.u.args',
      'tasks.u.command',
      'tasks.u.shell',
    ]);
  }
});

test.after(() => {
  for (const path of folders) rmSync(path, { recursive: true, force: true });
});

test.run();
