/** Names stand beside ids; times are right at once; Ctrl-C ends every command with 130. */
import type { Command } from 'commander';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { EXIT } from '../../cli/exit-codes.ts';
import { buildCommands, run } from '../../cli/run.ts';
import { startHttp } from '../admin-api/http-harness.ts';
import { smallServer, testShell } from './small-server.ts';

test('tables and single things show the names of groups and devices beside their ids', async () => {
  const http = await startHttp();
  const shell = () => testShell({ PUSHPOINT_TOKEN: http.secrets.admin, PUSHPOINT_SERVER: http.url });
  async function says(...args: string[]): Promise<string> {
    const each = shell();
    assert.is(await run(args, each), EXIT.ok, each.err);
    return each.out;
  }
  try {
    await http.call('POST', '/v1/groups', { body: { id: 'berlin', name: 'Berlin Mitte' } });
    await http.call('POST', '/v1/groups', { body: { id: 'same', name: 'same' } });
    const device = await http.enrol('berlin', { name: 'Till 7' });
    const gateway = { name: 'gw1', address: 'ws://gw1:13295', groupId: 'berlin' };
    await http.call('POST', '/v1/gateways', { body: gateway });
    await http.call('POST', '/v1/gateways', { body: { ...gateway, name: 'gw2', groupId: 'same' } });
    const give = (target: object) =>
      http.call('POST', '/v1/commands', { body: { type: 'sync', target, collapseKey: null } });
    const { id } = (await give({ devices: [device] })).body;
    await give({ group: 'berlin' });
    await http.call('POST', '/v1/tunnels', { body: { deviceId: device, port: 22 } });
    await http.call('POST', '/v1/enrolment-tokens', { body: { groupId: 'berlin' } });
    for (const args of [
      ['devices', 'list'],
      ['devices', 'show', device],
      ['gateways', 'list'],
      ['gateways', 'show', 'gw1'],
      ['commands', 'list'],
      ['enroll-token', 'list'],
    ]) {
      assert.match(await says(...args), 'berlin (Berlin Mitte)', args.join(' '));
    }
    for (const args of [
      ['commands', 'list'],
      ['commands', 'show', id],
      ['commands', 'executions', id],
      ['tunnels', 'list'],
    ]) {
      assert.match(await says(...args), `${device} (Till 7)`, args.join(' '));
    }
    assert.match(await says('gateways', 'show', 'gw2'), /group same\n/);
    assert.is(JSON.parse(await says('devices', 'list', '--json')).items[0].groupId, 'berlin');

    // Connected and disconnected long ago: what counts is when it was blocked.
    await http.store.devices.applySessions([
      { device, session: 1, disconnected: { code: 1006, reason: 'lost' }, at: Date.now() - 3_600_000 },
    ]);
    assert.match(await says('devices', 'block', device), /State +blocked \((now|\ds ago)\)/);
    await http.call('DELETE', `/v1/devices/${device}`);
    assert.match(await says('commands', 'executions', id), new RegExp(`^${device} +canceled`, 'm'));
  } finally {
    await http.stop();
  }
});

/** Commands that speak to a server, as words with what they need. */
function operatorCommands(command: Command, path: string[] = []): string[][] {
  const below = command.commands.flatMap((child) => operatorCommands(child, [...path, child.name()]));
  if (command.commands.length > 0 || !command.options.some(({ long }) => long === '--token-file'))
    return below;
  const words = command.registeredArguments.map((argument) => (argument.name() === 'port' ? '22' : 'x'));
  const flags = command.options.flatMap(({ long, mandatory }) =>
    mandatory
      ? [long ?? '', 'viewer']
      : long === '--all'
        ? ['--all']
        : long === '--gateway'
          ? [long, 'x']
          : [],
  );
  const settings = path.join(' ') === 'gateways set' ? ['--limit', '5'] : [];
  return [[...path, ...words, ...flags, ...settings]];
}

test('Ctrl-C ends every command that waits for its server with 130', async () => {
  const tree = buildCommands(testShell(), { code: EXIT.ok });
  const commands = operatorCommands(tree);
  assert.ok(commands.length > 35, commands.map((words) => words.join(' ')).join('\n'));
  for (const args of commands) {
    const server = await smallServer(() => {
      setImmediate(() => shell.interrupt());
      // Never answered.
      return new Promise<void>(() => {});
    });
    const shell = testShell({ PUSHPOINT_TOKEN: 'ppt_x', PUSHPOINT_SERVER: server.url });
    assert.is(await run(args, shell), EXIT.interrupted, `${args.join(' ')}: ${shell.err}`);
    await server.stop();
  }
});

test.run();
