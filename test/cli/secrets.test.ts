/** Secret commands on the command line: nothing secret is in the process list, nor in errors. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { EXIT } from '../../cli/exit-codes.ts';
import { run } from '../../cli/run.ts';
import { commandView, type Handle, json, smallServer, testShell } from './small-server.ts';

const BODY = { password: 'correct horse' };
const folder = mkdtempSync(join(tmpdir(), 'secrets-'));
const file = join(folder, 'body.json');
writeFileSync(file, JSON.stringify(BODY));
test.after(() => rmSync(folder, { recursive: true }));

async function pushpoint(args: string[], handle: Handle, input = '') {
  const server = await smallServer(handle);
  const shell = testShell({ PUSHPOINT_TOKEN: 'ppt_x', PUSHPOINT_SERVER: server.url });
  shell.readInput = async () => input;
  try {
    return { code: await run(args, shell), shell, asked: server.asked };
  } finally {
    await server.stop();
  }
}

/** Takes a command, and remembers its body. */
function taking(taken: unknown[]): Handle {
  return (_, response, body) => {
    taken.push(JSON.parse(body));
    json(response, 202, commandView({ args: 'secret', secret: true }));
  };
}

const MESSAGE = ['message', 'credentials', '--all', '--secret'];

test('a secret body comes from a file or from standard input', async () => {
  for (const [path, input] of [
    [file, ''],
    ['-', JSON.stringify(BODY)],
  ] as const) {
    const taken: { args?: unknown; secret?: unknown }[] = [];
    const { code } = await pushpoint([...MESSAGE, '--body-file', path], taking(taken), input);
    assert.is(code, EXIT.ok);
    assert.equal(taken[0]?.args, { topic: 'credentials', body: BODY });
    assert.is(taken[0]?.secret, true);
  }
});

test('a secret body on the command line is refused, and so are two bodies', async () => {
  for (const args of [
    [...MESSAGE, '--body', JSON.stringify(BODY)],
    ['message', 'x', '--all', '--body', '1', '--body-file', file],
  ]) {
    const { code, shell, asked } = await pushpoint(args, () => {});
    assert.is(code, EXIT.usage);
    assert.match(shell.err, '--body-file');
    assert.equal(asked, []);
  }
});

test('an error about a body does not repeat it', async () => {
  const wrong = await pushpoint([...MESSAGE, '--body-file', '-'], () => {}, 'password=correct horse');
  assert.is(wrong.code, EXIT.usage);
  assert.match(wrong.shell.err, '--body-file is not JSON');
  assert.not.match(wrong.shell.err, 'horse');
  const absent = await pushpoint([...MESSAGE, '--body-file', join(folder, 'nowhere')], () => {});
  assert.match(absent.shell.err, 'ENOENT');
});

test('commands that are not secret do not say so', async () => {
  const taken: object[] = [];
  await pushpoint(['sync', '--all'], taking(taken));
  assert.not('secret' in (taken[0] ?? {}));
});

test('a secret command shows no arguments, and reveal shows one result', async () => {
  const shown = await pushpoint(['commands', 'show', 'c1'], (_, response) =>
    json(response, 200, commandView({ args: 'secret', secret: true })),
  );
  assert.match(shown.shell.out, /Arguments +secret/);
  const execution = { state: 'succeeded', secret: true, reason: null, data: BODY };
  const revealed = await pushpoint(['commands', 'reveal', 'c1', 'd1'], (request, response) =>
    json(response, 200, request.method === 'POST' ? execution : { id: 'd1' }),
  );
  assert.is(revealed.asked.at(-1), 'POST /v1/commands/c1/executions/d1/reveal');
  assert.match(revealed.shell.out, JSON.stringify(BODY));
});

test.run();
