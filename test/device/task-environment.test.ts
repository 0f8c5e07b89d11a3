import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AgentConfigError, checkAgentConfig } from '../../device/agent/index.ts';
import { Tasks } from '../../device/agent/tasks.ts';
import type { Command, HandlerContext } from '../../device/index.ts';

const printEnvironment = { command: process.execPath, args: ['-p', 'JSON.stringify(process.env)'] };
const context = { signal: new AbortController().signal } as HandlerContext;

/** What a program sees of an agent whose own environment has secrets and systemd's sockets in it. */
async function seenBy(run: (tasks: Tasks) => Promise<{ output: string }>, program: object) {
  const folder = mkdtempSync(join(tmpdir(), 'pushpoint-tasks-'));
  const config = checkAgentConfig({
    server: 'http://127.0.0.1:1',
    stateDir: folder,
    outputTailBytes: 16_384,
    tasks: { show: { ...printEnvironment, ...program } },
    sync: { ...printEnvironment, ...program },
  });
  const surroundings = {
    PUSHPOINT_ENROLMENT_TOKEN: 'secret',
    REDIS_URL: 'redis://:secret@localhost',
    NOTIFY_SOCKET: '/run/systemd/notify',
    AWS_SECRET_ACCESS_KEY: 'secret',
    NODE_OPTIONS: '--no-warnings',
    LC_TIME: 'C',
    PROXY_FOR_TASKS: 'http://proxy:3128',
  };
  Object.assign(process.env, surroundings);
  try {
    return JSON.parse((await run(new Tasks(config, pino({ level: 'silent' })))).output) as Record<
      string,
      string
    >;
  } finally {
    for (const name of Object.keys(surroundings)) delete process.env[name];
    rmSync(folder, { recursive: true });
  }
}

const start = (tasks: Tasks) =>
  tasks.start({ id: 'c1', type: 'task.start', args: { task: 'show' } } as unknown as Command, context);
const sync = (tasks: Tasks) =>
  tasks.sync({ id: 'c1', type: 'sync', args: {} } as unknown as Command, context);

test('a program gets a clean environment: paths, home and language only', async () => {
  const allowed =
    /^(PATH|HOME|USER|LOGNAME|SHELL|LANG|LANGUAGE|TZ|TMPDIR|XDG_RUNTIME_DIR|PUSHPOINT_TASK_RUN|LC_\w+)$/;
  for (const run of [start, sync]) {
    const seen = await seenBy(run, {});
    const foreign = Object.keys(seen).filter((name) => !allowed.test(name));
    assert.equal(foreign, []);
    assert.is(seen.PATH, process.env.PATH);
    assert.is(seen.LC_TIME, 'C');
  }
});

test('a program gets the variables its configuration names, by value or from the agent', async () => {
  for (const run of [start, sync]) {
    const seen = await seenBy(run, {
      env: { LEVEL: 'full', LC_TIME: 'de_DE' },
      passEnv: ['PROXY_FOR_TASKS', 'NOT_SET'],
    });
    assert.is(seen.LEVEL, 'full');
    assert.is(seen.LC_TIME, 'de_DE');
    assert.is(seen.PROXY_FOR_TASKS, 'http://proxy:3128');
    assert.not.ok('NOT_SET' in seen);
    assert.not.ok('REDIS_URL' in seen);
  }
});

test('passEnv is a list of names', () => {
  assert.throws(
    () =>
      checkAgentConfig({
        server: 'http://127.0.0.1:1',
        tasks: { show: { ...printEnvironment, passEnv: { HOME: true } } },
      }),
    (error: unknown) =>
      error instanceof AgentConfigError && /tasks\.show\.passEnv: a list of names/.test(error.message),
  );
});

test.run();
