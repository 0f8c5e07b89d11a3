import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { control, printable, printableJson, printing } from '../../cli/output/printable.ts';
import { run } from '../../cli/run.ts';
import { smallServer, testShell } from './small-server.ts';

/**
 * Sets the title, clears the screen, writes the clipboard, and the same again with the 8-bit forms;
 * overwrites; turns around.
 */
const ATTACKS = [
  '\u001b]0;owned\u0007',
  '\u001b[2J',
  '\u001b]52;c;cm0=\u0007',
  '\u009b2J',
  '\u009d0;x\u009c',
  '\rok',
  '\u202e',
];
const UNSAFE = /(?![\t\n])[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/u;

test('nothing but newlines, tabs and own sequences is printed', () => {
  for (const attack of ATTACKS) assert.not.match(printable(`a${attack}b`), UNSAFE);
  assert.is(printable('two\nlines\tand a tab'), 'two\nlines\tand a tab');
  assert.is(printable(`${control('1m')}bold${control('22m')}`), '\u001b[1mbold\u001b[22m');
  assert.is(printable('Grüße, 東京 🚀'), 'Grüße, 東京 🚀');
  assert.not.match(printable('\u00011m forged mark'), UNSAFE);
});

test('JSON means the same when it is made safe to print', () => {
  const value = { reason: ATTACKS.join(' '), list: ['\u2028', 'plain'] };
  const json = printableJson(JSON.stringify(value, null, 2));
  assert.not.match(json, UNSAFE);
  assert.equal(JSON.parse(json), value);
});

test('a shell prints what is printable on every way out', async () => {
  const shell = testShell();
  let asked = '';
  shell.confirm = async (question) => {
    asked = question;
    return true;
  };
  const safe = printing(shell);
  safe.stdout.write(ATTACKS[0] ?? '');
  safe.stderr.write(ATTACKS[1] ?? '');
  safe.announce(ATTACKS[3] ?? '');
  await safe.confirm(`delete ${ATTACKS[2]}?`);
  for (const text of [shell.out, shell.err, asked]) assert.not.match(text, UNSAFE);
});

test('no answer of the API, however hostile, sends a control character to the terminal', async () => {
  const text = ATTACKS.join('-');
  const at = '2026-01-01T00:00:00.000Z';
  const tunnel = {
    ...{
      id: 'u1',
      deviceId: 'd1',
      host: text,
      port: 22,
      state: 'ended',
      code: 'closed',
      reason: text,
      gateway: 'gw1',
    },
    ...{
      worker: 'gw1/0',
      createdBy: 't1',
      createdAt: at,
      openedAt: at,
      endedAt: at,
      streams: 0,
      refusedJoins: 0,
    },
    ...{
      bytesUp: 1,
      bytesDown: 1,
      operatorAddress: text,
      deviceAddress: text,
      why: text,
      why2: text,
      detail: text,
    },
  };
  const server = await smallServer((_request, response) => {
    response.setHeader('content-type', 'application/json');
    response.end(
      JSON.stringify({
        ...tunnel,
        sentence: text,
        end: { reason: text, code: text },
        name: text,
        items: [tunnel],
        next: null,
        detail: text,
      }),
    );
  });
  const env = { PUSHPOINT_SERVER: server.url, PUSHPOINT_TOKEN: 'ppt_x' };
  const commands = [
    ['tunnels', 'list'],
    ['tunnels', 'show', 'u1'],
    ['devices', 'why', 'd1', 'c1'],
    ['tunnels', 'close', 'u1'],
    ['devices', 'show', 'd1'],
    ['devices', 'list'],
    ['commands', 'list'],
    ['gateways', 'list'],
    ['groups', 'list'],
    ['tokens', 'list'],
    ['status'],
    ['frobnicate', text],
  ];
  try {
    let printed = 0;
    for (const command of commands) {
      for (const json of [[], ['--json']]) {
        const shell = testShell(env);
        await run([...command, ...json], shell);
        assert.not.match(
          shell.out + shell.err,
          UNSAFE,
          `${command}: ${JSON.stringify(shell.out + shell.err)}`,
        );
        printed += (shell.out + shell.err).includes('owned') ? 1 : 0;
      }
    }
    assert.ok(printed > 5, `the text came through ${printed} times`);
  } finally {
    await server.stop();
  }
});

test.run();
