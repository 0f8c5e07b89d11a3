/** `--since` and `--until`. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { EXIT } from '../../cli/exit-codes.ts';
import { timeFlag } from '../../cli/operator/time-flags.ts';
import { run } from '../../cli/run.ts';
import { json, smallServer, testShell } from './small-server.ts';

const NOW = Date.parse('2030-01-31T12:00:00Z');

test('a time is read with its zone, a day as its beginning in UTC, a duration as so long ago', () => {
  for (const [text, time] of [
    ['2030-01-31T13:30:00+02:00', '2030-01-31T11:30:00.000Z'],
    ['2030-01-31T13:30Z', '2030-01-31T13:30:00.000Z'],
    ['2030-01-31', '2030-01-31T00:00:00.000Z'],
    ['1h30m', '2030-01-31T10:30:00.000Z'],
  ] as const) {
    assert.is(timeFlag(text, NOW), time);
  }
  for (const text of ['yesterday', '5', '2030-13-01', '2030-01-31T12:00', '99999999999d']) {
    assert.throws(() => timeFlag(text, NOW), /Expected a time/, text);
  }
});

test('every list that has times passes them on', async () => {
  const server = await smallServer((request, response) => {
    if (request.url?.startsWith('/v1/devices/d1?') || request.url === '/v1/devices/d1') {
      return json(response, 200, { id: 'd1' });
    }
    return json(response, 200, { items: [], next: null });
  });
  try {
    for (const [args, since, until] of [
      [['commands', 'list'], 'since', 'until'],
      [['commands', 'executions', 'c1'], 'finishedSince', 'finishedUntil'],
      [['devices', 'executions', 'd1'], 'since', 'until'],
      [['tunnels', 'list'], 'since', 'until'],
      [['audit'], 'since', 'until'],
    ] as const) {
      const shell = testShell({ PUSHPOINT_TOKEN: 'ppt_x', PUSHPOINT_SERVER: server.url });
      const flags = ['--since', '2030-01-31', '--until', '2030-02-01T00:00:00Z'];
      assert.is(await run([...args, ...flags], shell), EXIT.ok, shell.err);
      const { searchParams } = new URL(server.asked.at(-1)?.split(' ')[1] ?? '', 'http://x');
      assert.is(searchParams.get(since), '2030-01-31T00:00:00.000Z', args.join(' '));
      assert.is(searchParams.get(until), '2030-02-01T00:00:00.000Z', args.join(' '));
    }
  } finally {
    await server.stop();
  }
});

test('the audit trail is a table of who did what', async () => {
  const entry = {
    seq: 1,
    at: '2030-01-31T12:00:00.000Z',
    actor: 't1',
    action: 'device.blocked',
    subject: 'd1',
    detail: {},
  };
  const server = await smallServer((_, response) => json(response, 200, { items: [entry], next: null }));
  const shell = testShell({ PUSHPOINT_TOKEN: 'ppt_x', PUSHPOINT_SERVER: server.url });
  assert.is(await run(['audit'], shell), EXIT.ok, shell.err);
  assert.match(shell.out, /2030-01-31T12:00:00\.000Z +t1 +device\.blocked +d1/);
  await server.stop();
});

test.run();
