import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { run } from '../../cli/run.ts';
import { freePort } from '../wait.ts';
import { commandView, type Handle, json, smallServer, type TestShell, testShell } from './small-server.ts';

async function pushpoint(
  args: string[],
  handle: Handle = (_, response) => json(response, 404, { detail: 'Not here.' }),
  env: NodeJS.ProcessEnv = {},
): Promise<{ code: number; shell: TestShell; asked: string[] }> {
  const server = await smallServer(handle);
  const shell = testShell({ PUSHPOINT_TOKEN: 'ppt_x', PUSHPOINT_SERVER: server.url, ...env });
  try {
    return { code: await run(args, shell), shell, asked: server.asked };
  } finally {
    await server.stop();
  }
}

/** Answers as a server does on which a command ends with these counts. */
function commanding(counts: Record<string, number>, seen: { body?: string; key?: unknown } = {}): Handle {
  return (request, response, body) => {
    if (request.method === 'POST') {
      seen.body = body;
      seen.key = request.headers['idempotency-key'];
      return json(response, 202, commandView());
    }
    if (request.url?.includes('/executions')) return json(response, 200, { items: [], next: null });
    if (request.url?.startsWith('/v1/events')) return json(response, 404, {});
    return json(response, 200, commandView({ finishedAt: '2026-01-01T00:00:01.000Z' }, counts));
  };
}

test('exit 0: --help and --version', async () => {
  const help = await pushpoint(['--help']);
  assert.is(help.code, 0);
  assert.match(help.shell.out, /Programs:[\s\S]*start[\s\S]*agent/);
  const version = await pushpoint(['--version']);
  assert.is(version.code, 0);
  assert.match(version.shell.out, /^\d+\.\d+\.\d+\n$/);
});

test('exit 2: nothing said, unknown commands and flags, missing and wrong values', async () => {
  const wrong = [
    [],
    ['synk'],
    ['sync', '--everything'],
    ['sync'],
    ['sync', '--all', '--group', 'g'],
    ['sync', '--all', '--ttl', '5'],
    ['sync', '--all', '--offline', 'maybe'],
    ['task', 'start'],
    ['message', 'topic', '--all', '--body', '{'],
    ['devices', 'list', '--limit', '0'],
    ['devices', 'list', '--server', 'ftp://x'],
    ['rehearse', '--gateway', 'gw1', '--wait-timeout', '5'],
    ['rehearse', '--gateway', 'gw1', '--wait-timeout', '0s'],
    ['start', '--port', 'x'],
    ['gateway'],
    ['admin'],
  ];
  for (const args of wrong) {
    const { code, shell, asked } = await pushpoint(args);
    assert.is(code, 2, `${args.join(' ')}: ${code} ${shell.err}`);
    assert.ok(shell.err.length > 0, args.join(' '));
    assert.equal(asked, [], args.join(' '));
  }
});

test('exit 2: no token, or a file that holds none', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'pushpoint-run-'));
  const env = { PUSHPOINT_TOKEN: '', PUSHPOINT_TOKEN_FILE: join(folder, 'none') };
  const missing = await pushpoint(['status'], undefined, env);
  assert.is(missing.code, 2);
  assert.match(missing.shell.err, /ENOENT[\s\S]*--token-file or PUSHPOINT_TOKEN/);
  writeFileSync(env.PUSHPOINT_TOKEN_FILE, 'two words\n');
  assert.is((await pushpoint(['status'], undefined, env)).code, 2);
  rmSync(folder, { recursive: true });
});

test('exit 3: refused', async () => {
  const { code, shell } = await pushpoint(['commands', 'show', 'c9']);
  assert.is(code, 3);
  assert.is(shell.err, 'Refused: Not here.\n');
  assert.is(shell.out, '');
});

test('exit 4: nobody there', async () => {
  const server = `http://127.0.0.1:${await freePort()}`;
  assert.is((await pushpoint(['status', '--server', server])).code, 4);
});

test('exit 0 and 5: --wait tells whether all succeeded', async () => {
  const good = await pushpoint(['sync', '--all', '--wait'], commanding({ succeeded: 2 }));
  assert.is(good.code, 0, good.shell.err);
  assert.match(good.shell.out, /c1 finished: 2 succeeded/);
  const bad = await pushpoint(['sync', '--all', '--wait'], commanding({ succeeded: 1, failed: 1 }));
  assert.is(bad.code, 5);
  assert.match(bad.shell.out, /1 succeeded, 1 failed/);
});

test('exit 6: --wait-timeout', async () => {
  const open: Handle = (_, response) => json(response, 200, commandView());
  assert.is((await pushpoint(['commands', 'wait', 'c1', '--wait-timeout', '50ms'], open)).code, 6);
});

test('exit 130: Ctrl-C', async () => {
  const server = await smallServer((request, response) => {
    if (request.url?.startsWith('/v1/events')) response.writeHead(200).write(': ping\n\n');
    else json(response, 200, commandView());
    setImmediate(() => shell.interrupt());
  });
  const shell = testShell({ PUSHPOINT_TOKEN: 'ppt_x', PUSHPOINT_SERVER: server.url });
  assert.is(await run(['commands', 'wait', 'c1'], shell), 130);
  assert.is(await run(['events'], shell), 130);
  await server.stop();
});

test('exit 1: a fault of the server', async () => {
  assert.is((await pushpoint(['status'], (_, response) => json(response, 500, {}))).code, 1);
});

test('a command has a type, arguments, limits in seconds, and a key that makes repeating safe', async () => {
  const seen: { body?: string; key?: unknown } = {};
  const args = ['--all', '--ttl', '15m', '--timeout', '90s', '--offline', 'skip', '--collapse-key', 'k'];
  await pushpoint(['task', 'start', 'backup', ...args], commanding({}, seen));
  assert.equal(JSON.parse(seen.body ?? ''), {
    type: 'task.start',
    args: { task: 'backup' },
    target: { all: true },
    offline: 'skip',
    ttl: 900,
    timeout: 90,
    collapseKey: 'k',
  });
  assert.match(String(seen.key), /^[\w-]{21}$/);
  await pushpoint(
    ['message', 't', '--all', '--body', '[1]', '--idempotency-key', 'mine'],
    commanding({}, seen),
  );
  assert.equal(JSON.parse(seen.body ?? '').args, { topic: 't', body: [1] });
  assert.is(seen.key, 'mine');
});

test('--json is one document on stdout, and nothing else', async () => {
  const { shell } = await pushpoint(['sync', '--all', '--wait', '--json'], commanding({ succeeded: 2 }));
  const document = JSON.parse(shell.out);
  assert.is(document.command.counts.succeeded, 2);
  assert.equal(document.executions, []);
});

test('a name stands for an id when only one thing has it', async () => {
  const handle: Handle = (request, response) => {
    const text = new URL(request.url ?? '', 'http://x').searchParams.get('text');
    if (text === 'Till 7') return json(response, 200, { items: [{ id: 'd7', name: 'Till 7' }], next: null });
    const twin = (id: string) => ({ id, name: 'Twin' });
    if (text === 'Twin') return json(response, 200, { items: [twin('a'), twin('b')], next: null });
    if (request.url === '/v1/devices/d7' && request.method === 'DELETE')
      return void response.writeHead(204).end();
    return json(response, 404, {});
  };
  const one = await pushpoint(['devices', 'delete', 'Till 7'], handle);
  assert.is(one.code, 0, one.shell.err);
  assert.is(one.asked.at(-1), 'DELETE /v1/devices/d7');
  const two = await pushpoint(['devices', 'delete', 'Twin'], handle);
  assert.is(two.code, 2);
  assert.match(two.shell.err, /2 devices are called "Twin".*a, b/);
});

test('why a device has not acted is asked of the newest command when none is named', async () => {
  const handle: Handle = (request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '', 'http://x');
    const [, id] = /^\/v1\/devices\/([^/]+)$/.exec(pathname) ?? [];
    if (id !== undefined) return json(response, 200, { id });
    if (pathname.endsWith('/executions')) {
      const items = pathname.includes('idle') ? [] : [{ commandId: 'c9' }];
      return json(response, 200, { items, next: null });
    }
    return json(response, 200, { sentence: `about ${searchParams.get('command')}` });
  };
  const newest = await pushpoint(['devices', 'why', 'd7'], handle);
  assert.equal([newest.code, newest.shell.out], [0, 'c9: about c9\n']);
  const named = await pushpoint(['devices', 'why', 'd7', 'c1'], handle);
  assert.is(named.shell.out, 'about c1\n');
  const none = await pushpoint(['devices', 'why', 'idle'], handle);
  assert.is(none.code, 3);
  assert.match(none.shell.err, /There is no command for idle/);
});

test('enroll-token alone makes a token and prints it alone on stdout', async () => {
  const made = {
    id: 'e1',
    groupId: 'all',
    note: '',
    usesLeft: 1,
    usesMax: 1,
    expiresAt: 'x',
    token: 'pp1.abc',
  };
  const { code, shell, asked } = await pushpoint(['enroll-token', '--quiet'], (_, response) =>
    json(response, 201, made),
  );
  assert.is(code, 0, shell.err);
  assert.is(shell.out, 'pp1.abc\n');
  assert.is(shell.err, '');
  assert.equal(asked, ['POST /v1/enrolment-tokens']);
});

test('--wait says after a while that devices are offline, and how not to wait for them', async () => {
  let asked = 0;
  const { code, shell } = await pushpoint(['sync', '--all', '--wait'], (request, response) => {
    if (request.method === 'POST') return json(response, 202, commandView());
    if (request.url?.includes('/executions')) return json(response, 200, { items: [], next: null });
    if (request.url?.startsWith('/v1/events')) return json(response, 404, {});
    const finishedAt = '2026-01-01T00:00:09.000Z';
    // Without a stream it looks about once a second: by the eighth time the five seconds are over.
    if (++asked < 8) return json(response, 200, commandView({}, { succeeded: 1, queued: 1 }));
    return json(response, 200, commandView({ finishedAt }, { succeeded: 2 }));
  });
  assert.is(code, 0);
  const hint =
    '1 device is offline or out of reach. The command waits up to 7d: --wait-timeout gives up earlier';
  assert.is(shell.err.split(hint).length, 2, shell.err);
});

test('exit 141 without a message: nobody reads the output any more', async () => {
  const groups = Array.from({ length: 2_000 }, (_, i) => ({
    id: `g${i}`,
    name: 'x'.repeat(64),
    parentId: null,
    path: '/',
    createdAt: '2026-01-01T00:00:00.000Z',
  }));
  const server = await smallServer((_, response) => json(response, 200, { items: groups, next: null }));
  const main = fileURLToPath(new URL('../../cli/main.js', import.meta.url));
  const env = { ...process.env, PUSHPOINT_TOKEN: 'ppt_x', PUSHPOINT_SERVER: server.url };
  const child = spawn(process.execPath, [main, 'groups', 'list', '--limit', 'all', '--json'], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  child.stdout.destroy();
  let said = '';
  child.stderr.on('data', (text) => {
    said += text;
  });
  const [code] = await once(child, 'exit');
  assert.is(code, 141, said);
  assert.is(said, '');
  await server.stop();
});

test.run();
