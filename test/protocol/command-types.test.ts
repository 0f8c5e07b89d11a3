import { Value } from 'typebox/value';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { CommandArgs } from '../../protocol/command-args.ts';
import { DEFAULT_TTL_MS } from '../../protocol/command-defaults.ts';
import {
  type ArgsOf,
  COMMAND_TYPE_NAMES,
  COMMAND_TYPES,
  type CommandType,
  OPERATOR_COMMAND_TYPES,
} from '../../protocol/command-types.ts';
import { ID_PATTERN, LIMITS, SERVER_LIMITS } from '../../protocol/index.ts';

function args(type: CommandType, value: unknown): boolean {
  return Value.Check(COMMAND_TYPES[type].args, value);
}

function data(type: CommandType, value: unknown): boolean {
  return Value.Check(COMMAND_TYPES[type].result, value);
}

/**
 * Does not compile when a schema and the type that handlers see differ; the schemas of statistics and
 * identify have no properties.
 */
type Same<A, B> = [A, B] extends [B, A] ? true : never;
type Compared = Exclude<CommandType, 'statistics' | 'identify'>;
const agreed: { [T in Compared]: Same<ArgsOf<T>, CommandArgs[T]> } = {
  sync: true,
  'task.start': true,
  'task.stop': true,
  message: true,
  'tunnel.open': true,
  'tunnel.close': true,
};

test('the arguments that handlers see are those that the schemas let through', () => {
  assert.equal(Object.keys(agreed).concat('statistics', 'identify').sort(), [...COMMAND_TYPE_NAMES].sort());
});

test('S-3: every command type is an identifier with clocks within the limits', () => {
  assert.equal(COMMAND_TYPE_NAMES, [...OPERATOR_COMMAND_TYPES, 'tunnel.open', 'tunnel.close', 'identify']);
  for (const type of COMMAND_TYPE_NAMES) {
    assert.match(type, ID_PATTERN);
    assert.ok(type.length <= SERVER_LIMITS.capabilityLength);
    const { timeoutMs } = COMMAND_TYPES[type];
    assert.ok(timeoutMs >= 1 && timeoutMs <= LIMITS.timeoutMaxMs);
  }
  assert.ok(DEFAULT_TTL_MS <= SERVER_LIMITS.ttlMaxMs);
});

test('D-1: sync takes nothing, or whether to fetch everything', () => {
  assert.ok(args('sync', {}) && args('sync', { full: true }));
  for (const wrong of [{ full: 'yes' }, { fast: true }, null, [], 'all']) assert.not(args('sync', wrong));
  assert.ok(data('sync', {}) && data('sync', { revision: 'r42', exitStatus: 0, output: '' }));
  assert.not(data('sync', { exitStatus: 0.5 }));
});

test('D-1: tasks are named, never spelled out as a command line', () => {
  for (const type of ['task.start', 'task.stop'] as const) {
    assert.ok(args(type, { task: 'backup' }) && args(type, { task: 'x'.repeat(64) }));
    for (const task of ['', 'rm -rf /', '../up', '-x', 'x'.repeat(65), 'a\n', 7, null])
      assert.not(args(type, { task }));
    assert.not(args(type, {}));
    assert.not(args(type, { task: 'backup', argv: ['-x'] }));
  }
  assert.ok(data('task.start', { signal: 'SIGTERM' }));
  assert.ok(data('task.stop', { wasRunning: false }));
  assert.not(data('task.stop', {}));
});

test('D-1: statistics takes nothing and gives any map', () => {
  assert.ok(args('statistics', {}));
  assert.not(args('statistics', { all: true }));
  assert.ok(data('statistics', { uptimeSeconds: 3, load: [0.1, 0.2, 0.3] }));
  assert.not(data('statistics', [1]));
});

test('D-1: a message has a topic and perhaps a body', () => {
  assert.ok(args('message', { topic: 'hello' }) && args('message', { topic: 'hello', body: { a: [1] } }));
  for (const wrong of [{}, { topic: '' }, { topic: 'x'.repeat(129) }, { topic: 'a', to: 'b' }]) {
    assert.not(args('message', wrong));
  }
  assert.ok(data('message', undefined) && data('message', 'anything'));
});

test('D-1: a tunnel is opened with a ticket at one gateway, to one host and port', () => {
  const open = {
    tunnel: 'tun-1',
    gateway: { name: 'gw1', url: 'wss://gw1.example.net:13295' },
    worker: 0,
    ticket: 'A'.repeat(43),
    host: '127.0.0.1',
    port: 22,
    lifeMs: 3_600_000,
  };
  assert.ok(args('tunnel.open', open) && args('tunnel.open', { ...open, resume: true }));
  for (const wrong of [
    { ...open, ticket: 'A'.repeat(42) },
    { ...open, port: 0 },
    { ...open, host: '' },
    { ...open, worker: -1 },
    { ...open, gateway: { name: 'gw1' } },
    { ...open, command: 'sh' },
    {},
  ]) {
    assert.not(args('tunnel.open', wrong));
  }
  assert.ok(data('tunnel.open', {}));
  assert.ok(
    args('tunnel.close', { tunnel: 'tun-1', reason: 'done' }) && args('tunnel.close', { tunnel: 'tun-1' }),
  );
  assert.not(args('tunnel.close', {}));
  assert.ok(data('tunnel.close', { wasOpen: true }) && !data('tunnel.close', {}));
});

test.run();
