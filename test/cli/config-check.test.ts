import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { EXIT } from '../../cli/exit-codes.ts';
import { run } from '../../cli/run.ts';
import { type TestShell, testShell } from './small-server.ts';

async function check(
  args: string[],
  settings: string,
  env: NodeJS.ProcessEnv = {},
): Promise<{ code: number; shell: TestShell; file: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'config-check-'));
  const file = join(folder, 'pushpoint.yaml');
  writeFileSync(file, settings);
  const shell = testShell(env);
  try {
    return { code: await run(['config', 'check', ...args, '--config', file], shell), shell, file };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('valid settings are shown with where each comes from, and secrets are not', async () => {
  const { code, shell, file } = await check(
    ['admin', '--api-port', '9090'],
    'redis-url: redis://:hidden@127.0.0.1\nkeep-events: 2d\n',
    { PUSHPOINT_LOG_LEVEL: 'warn' },
  );
  assert.is(code, EXIT.ok, shell.err);
  assert.match(shell.out, /^api-port +9090 +--api-port$/m);
  assert.ok(shell.out.includes(`${file}:2: keep-events`));
  assert.match(shell.out, /^log-level +warn +environment PUSHPOINT_LOG_LEVEL$/m);
  assert.match(shell.out, /^redis-url +set \(not shown\)/m);
  assert.match(shell.out, /^api-host +127\.0\.0\.1 +default$/m);
  assert.not.match(shell.out + shell.err, /hidden/);
});

test('--json gives the same to programs', async () => {
  const { code, shell } = await check(['start', '--json'], 'port: 13000\n');
  assert.is(code, EXIT.ok);
  const { program, settings } = JSON.parse(shell.out);
  assert.is(program, 'start');
  assert.is(settings.find(({ name }: { name: string }) => name === 'port').value, '13000');
});

test('exit 2: what the file, the environment or two settings together say wrong', async () => {
  for (const [args, settings, expected] of [
    [['admin'], 'redis-url: redis://127.0.0.1\nportt: 1\n', /:2: unknown key "portt"/],
    [['admin'], 'redis-url: http://127.0.0.1\n', /redis-url/],
    [['start'], 'port: 70000\n', /:1: port: .*70000/],
    [['start', '--tls-cert', 'x'], '', /--tls-cert and --tls-key must be given together/],
    [['gateway'], 'redis-url: redis://127.0.0.1\n', /--name .* is required/],
    [['agent'], 'tasks: { backup: { command: 7 } }\n', /backup/],
    [['agent'], 'tasks: [\n', /not valid YAML/],
  ] as const) {
    const { code, shell } = await check([...args], settings);
    assert.is(code, EXIT.usage, `${args} ${settings}`);
    assert.match(shell.err, expected);
    assert.is(shell.out, '');
  }
});

test('an agent with tasks and tunnels is valid', async () => {
  const settings = 'tasks: { backup: { command: /bin/true } }\ntunnels: { allow: [22] }\n';
  const { code, shell } = await check(['agent'], settings);
  assert.is(code, EXIT.ok, shell.err);
});

test.run();
