import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { DirectoryGateway } from '../../bus/bus.ts';
import { alternateGatewaysHeader } from '../../gateway/lists/alternate-gateways.ts';
import { GatewayList, type ListedGateway } from '../../gateway/lists/gateway-list.ts';
import { redirectFrame, updateFrame, welcomeFrame } from '../../gateway/lists/list-frames.ts';
import { decodeGatewayMessage, LIMITS } from '../../protocol/index.ts';

const SETTINGS = { runPushServer: true, port: 1, connectionLimit: 100 };

function gateway(name: string, group = 'berlin', more: Partial<DirectoryGateway> = {}): DirectoryGateway {
  const address = `ws://${name}`;
  const told = { told: { port: 1, address }, former: [] };
  const own = { name, group, address, revision: 1, draining: false, weight: 100, ...told };
  return { ...SETTINGS, ...own, ...more };
}

function listOf(...gateways: DirectoryGateway[]): GatewayList {
  const list = new GatewayList('gw1', { ...SETTINGS, group: 'berlin', address: 'ws://gw1' });
  list.update(gateways);
  return list;
}

const names = (gateways: readonly { name: string }[]) => gateways.map(({ name }) => name);

test('H-6: frames with names are what the codec reads, whatever the length of the list', () => {
  for (const count of [0, 1, 15, 16, LIMITS.gateways]) {
    const list = listOf(...Array.from({ length: count }, (_, i) => gateway(`g${i}`, 'all')));
    const ranked = list.elsewhere(list.scope(['all']), 'dev');
    const to = names(ranked);
    assert.is(to.length, count);
    assert.equal(decodeGatewayMessage(welcomeFrame(ranked, 7, 8, 1_000, undefined)), {
      t: 'welcome',
      session: 7,
      time: 8,
      heartbeatMs: 1_000,
      gateways: to,
    });
    assert.equal(decodeGatewayMessage(updateFrame(ranked)), { t: 'update', gateways: to });
    const redirect = { t: 'redirect', to, reason: 'scope', withinMs: 0 };
    assert.equal(decodeGatewayMessage(redirectFrame(ranked, 'scope')), redirect);
  }
});

test('H-6: a list has no more gateways than the limit', () => {
  const list = listOf(...Array.from({ length: LIMITS.gateways + 5 }, (_, i) => gateway(`g${i}`)));
  assert.is(list.ranked(list.scope(['berlin']), 'dev').length, LIMITS.gateways);
});

test('G-1: gateways that are off, or listened nowhere yet, are not named; addresses do not count', () => {
  const list = listOf(gateway('gw1'), gateway('gw2'));
  const scope = list.scope(['berlin']);
  const named = () => names(list.ranked(scope, 'dev')).sort();
  const elsewhere = { told: { port: 2, address: 'ws://new' } };
  assert.is(list.update([gateway('gw1'), gateway('gw2', 'berlin', elsewhere)]).size, 0);
  assert.equal(named(), ['gw1', 'gw2']);
  assert.is(list.update([gateway('gw1'), gateway('gw2', 'berlin', { told: null })]).size, 1);
  assert.equal(named(), ['gw1']);
  list.update([gateway('gw1', 'berlin', { told: null }), gateway('gw2')]);
  assert.equal(named(), ['gw2']);
  // It listens, and the directory does not know yet.
  const serves = { port: 1, address: 'ws://gw1' };
  list.update([gateway('gw1', 'berlin', { told: null }), gateway('gw2')], serves);
  assert.equal(named(), ['gw1', 'gw2']);
  list.update([gateway('gw1', 'berlin', { runPushServer: false }), gateway('gw2')]);
  assert.equal(named(), ['gw2']);
});

test('G-1: a gateway that is drained stays in the lists, after all others, and sessions are told', () => {
  const full = gateway('gw2', 'berlin', { weight: 0 });
  const list = listOf(gateway('gw1'), full, gateway('gw3'));
  const scope = list.scope(['berlin']);
  assert.is(list.update([gateway('gw1', 'berlin', { draining: true }), full, gateway('gw3')]).size, 1);
  for (const device of ['a', 'b', 'c', 'd']) {
    assert.equal(names(list.ranked(scope, device)), ['gw3', 'gw2', 'gw1']);
  }
  list.update([gateway('gw1', 'berlin', { draining: true })]);
  assert.equal(
    names(list.ranked(scope, 'a')),
    ['gw1'],
    'and where there is no other, it is better than none',
  );
});

test('C-5: a redirect names gateways with room for the same group or a known one above it', () => {
  const list = listOf(
    ...[gateway('gw1'), gateway('a', 'all'), gateway('b'), gateway('c', 'kiosks')],
    gateway('d', 'berlin', { weight: 0 }),
  );
  assert.equal(names(list.alternatives()), ['b']);
  list.scope(['all', 'berlin', 'kiosks']);
  assert.equal(names(list.alternatives()), ['a', 'b']);
});

test('C-5: the header names at most 8, and starts anywhere', () => {
  const listed = (name: string): ListedGateway => ({
    ...{ name, group: 'all', weight: 1, draining: false },
    encoded: new Uint8Array(),
  });
  const three = [listed('a'), listed('b'), listed('c')];
  assert.is(alternateGatewaysHeader(three, 0), 'a, b, c');
  assert.is(alternateGatewaysHeader(three, 0.99), 'c, a, b');
  assert.is(alternateGatewaysHeader([]), '');
  const many = Array.from({ length: 20 }, (_, i) => listed(`g${i}`));
  assert.is(alternateGatewaysHeader(many, 0.9).split(', ').length, 8);
});

test.run();
