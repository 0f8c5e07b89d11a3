import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { webProbe } from '../../device/index.browser.ts';
import { httpProbe, type NodeDeviceOptions, type Probe, watchInterfaces } from '../../device/index.ts';
import { type Fixture, fixture } from './fixture.ts';
import { ScriptGateway } from './script-gateway.ts';
import { until } from './until.ts';

/** Two gateways, `gw-1` and `gw-2`, and a device whose probes find what the test says. */
async function pair(options: Partial<NodeDeviceOptions> = {}, { home = false, connect = true } = {}) {
  const one = await ScriptGateway.start();
  const two = await ScriptGateway.start('gw-2', one);
  const gateways = [one.address, two.address];
  const p = {
    one,
    two,
    probes: [] as string[],
    /** Milliseconds by gateway; one that is not here refuses. */
    times: { 'gw-1': 100, 'gw-2': 1 } as Record<string, number>,
    f: null as unknown as Fixture,
    async at(gateway: ScriptGateway, sessions = 1) {
      await gateway.session(sessions);
      await until(() => p.f.device.session?.gateway.name === gateway.name, `a session at ${gateway.name}`);
    },
    async end() {
      await p.f.end();
      await two.stop();
    },
  };
  const probe: Probe = async ({ name }) => {
    p.probes.push(name);
    const ms = p.times[name];
    if (ms === undefined) throw new Error('refused');
    return [ms, ms, ms];
  };
  p.f = await fixture({
    gateway: one,
    store: one.store({ gateways, ...(home ? { home: one.address.url } : {}) }),
    connect: false,
    options: { probe, probing: { dwellMs: 0, confirmMs: 20 }, ...options },
  });
  if (connect) await p.at(home ? one : two);
  return p;
}

test('G-10, G-11: at first start a device dials the nearest, and returns without probing', async () => {
  const p = await pair();
  assert.equal(p.probes.sort(), ['gw-1', 'gw-2']);
  p.two.last.socket.terminate();
  await p.at(p.two, 2);
  await p.f.device.stop({ abrupt: true });
  await p.f.device.start();
  await p.at(p.two, 3);
  assert.is(p.probes.length, 2);
  assert.is(p.one.peers.length, 0);
  assert.is((await p.f.store.load()).state.home, p.two.address.url);
  await p.end();
});

test('G-11: where no gateway answers probes, or none are wanted, the list is used in its order', async () => {
  const none: Partial<NodeDeviceOptions>[] = [
    { probing: false },
    { probe: async () => Promise.reject(new Error()) },
  ];
  for (const options of none) {
    const p = await pair(options, { connect: false });
    await p.at(p.one);
    assert.equal(p.probes, []);
    await p.end();
  }
});

test('G-13: after two beats without answer a device probes, and leaves for another however far', async () => {
  const p = await pair({ random: () => 0.01 }, { home: true, connect: false });
  p.one.heartbeatMs = 1_000;
  p.one.answerBeats = false;
  p.times = { 'gw-1': 1, 'gw-2': 900 };
  await p.at(p.two);
  assert.equal(p.probes.sort(), ['gw-1', 'gw-2']);
  assert.match(p.f.disconnected[0]?.reason ?? '', /B-3/);
  await p.end();
});

test('G-10: a redirect that names where to go is obeyed without probing', async () => {
  const p = await pair({}, { home: true });
  p.one.last.send({ t: 'redirect', to: ['gw-2'], reason: 'drain', withinMs: 5 });
  await p.at(p.two);
  assert.equal(p.probes, []);
  assert.is(p.f.disconnected[0]?.advice, 'now');
  await p.end();
});

test('G-13: told to leave and not where to, a device probes and goes elsewhere', async () => {
  for (const leave of ['redirect', '4000'] as const) {
    const p = await pair({}, { home: true });
    p.times = { 'gw-1': 1, 'gw-2': 900 };
    if (leave === 'redirect') p.one.last.send({ t: 'redirect', to: [], reason: 'drain', withinMs: 0 });
    else p.one.last.socket.close(4000);
    await p.at(p.two);
    assert.equal(p.probes.sort(), ['gw-1', 'gw-2']);
    await p.end();
  }
});

test('G-12: a connected device moves after two rounds, with 1000, and what runs goes on', async () => {
  const p = await pair({}, { home: true });
  p.f.device.networkChanged();
  await p.at(p.two);
  await until(() => p.one.last.closed, 'the close');
  assert.is(p.one.last.closed?.code, 1000);
  assert.is(p.probes.length, 4);
  assert.is(p.f.disconnected[0]?.advice, 'now');
  await p.end();
});

test('G-12: a device does not move before its time at a gateway is over', async () => {
  const p = await pair(
    { probing: { dwellMs: 600_000, soonMs: 1, confirmMs: 1, everyMs: 2 } },
    { home: true },
  );
  await until(() => p.probes.length >= 10, 'rounds');
  assert.is(p.two.peers.length, 0);
  await p.end();
});

test('G-1: a device tries its previous addresses after a list that leads nowhere', async () => {
  const p = await pair({ probing: false }, { home: true });
  const gone = { name: 'gw-2', url: 'ws://127.0.0.1:1' };
  await p.one.sendList([gone]);
  await until(() => p.f.device.gateways.length === 1, 'the list');
  p.one.last.socket.terminate();
  await p.at(p.one, 2);
  p.one.refuse = 0;
  await p.f.device.stop({ abrupt: true });
  await p.f.device.start();
  await p.at(p.two);
  await p.f.device.stop({ abrupt: true });
  const kept = (await p.f.store.load()).state;
  assert.equal([kept.gateways, kept.home], [[gone], p.two.address.url]);
  assert.equal(
    kept.older?.map(({ name }) => name),
    ['gw-1', 'gw-2'],
  );
  await p.end();
});

test('C-4: a device that is sent on again and again follows each time without a back-off', async () => {
  const p = await pair(
    { probing: false, random: () => 0.99, reconnect: { baseMs: 3_600_000, capMs: 3_600_000 } },
    { home: true },
  );
  for (let move = 1; move <= 4; move++) {
    const [from, to] = move % 2 ? [p.one, p.two] : [p.two, p.one];
    from.last.send({ t: 'redirect', to: [to.name], reason: 'balance', withinMs: 0 });
    from.last.socket.close(4001);
    await p.at(to, Math.ceil(move / 2) + (to === p.one ? 1 : 0));
  }
  assert.equal(
    p.f.disconnected.map(({ advice }) => advice),
    ['now', 'now', 'now', 'now'],
  );
  await p.end();
});

test('G-12: a device that no gateway of a balance redirect takes goes back as usual', async () => {
  const probing = { dwellMs: 0, confirmMs: 20, soonMs: 5, everyMs: 20 };
  const p = await pair({ probing, random: () => 0.5 });
  p.times = { 'gw-2': 1, 'gw-3': 100 };
  const three = await ScriptGateway.start('gw-3', p.one);
  await p.two.sendList([p.one.address, p.two.address, three.address]);
  await until(() => p.probes.filter((name) => name === 'gw-3').length >= 2, 'gw-3 to be measured');
  p.one.refuse = 0;
  p.two.last.send({ t: 'redirect', to: ['gw-1'], reason: 'balance', withinMs: 0 });
  await three.session();
  await p.at(p.two, 2);
  assert.is(p.one.peers.length, 0);
  await p.end();
  await three.stop();
});

test('G-1: addresses that cannot be dialed are left out of a list', async () => {
  const p = await pair({ probing: false }, { home: true });
  const bad = ['#x', '/#'].map((end, i) => ({ name: `x-${i}`, url: `${p.two.address.url}${end}` }));
  await p.one.sendList([...bad, p.two.address]);
  await until(() => p.f.device.gateways[0]?.name === 'gw-2', 'the list');
  p.one.last.send({ t: 'redirect', to: ['x-0', 'x-1', 'gw-2'], reason: 'drain', withinMs: 0 });
  await p.at(p.two);
  assert.is(p.f.device.gateways.length, 1);
  assert.is(p.f.faults.length, 0);
  await p.end();
});

test('B-1: a measurement is reported once, in the beat after welcome, and kept across restarts', async () => {
  const p = await pair();
  const { measured } = await p.two.last.first('beat');
  assert.equal(measured, [
    { name: 'gw-2', ms: 1 },
    { name: 'gw-1', ms: 100 },
  ]);
  p.f.device.setStatus({ policy: 'r1' });
  await until(() => p.two.last.of('beat').length >= 2, 'another beat');
  const { status, ...rest } = p.two.last.of('beat')[1] ?? {};
  assert.equal([status?.policy, rest], ['r1', { t: 'beat' }]);
  assert.equal((await p.f.store.load()).state.measured, { 'gw-1': 100, 'gw-2': 1 });
  await p.end();
});

test('G-2, G-12: a device that loses the nearest dials the next, and returns later', async () => {
  const one = await ScriptGateway.start();
  const [two, three] = [await ScriptGateway.start('gw-2', one), await ScriptGateway.start('gw-3', one)];
  const times: Record<string, number> = { 'gw-1': 120, 'gw-2': 2, 'gw-3': 40 };
  let silent = '';
  const asked: string[] = [];
  const probe: Probe = async ({ name }) => {
    asked.push(name);
    if (name === silent) throw new Error('gone');
    return [times[name] as number];
  };
  const f = await fixture({
    gateway: one,
    store: one.store({ gateways: [one.address, two.address, three.address] }),
    connect: false,
    options: { probe, probing: { soonMs: 10, confirmMs: 10 } },
  });
  await two.session();
  silent = two.name;
  two.refuse = 0;
  two.last.socket.terminate();
  await three.session();
  asked.length = 0;
  await until(() => asked.filter((name) => name === two.name).length >= 2, 'the nearest to be asked for');
  assert.not.ok(asked.includes(one.name), 'what is farther is not asked for');
  assert.is(one.peers.length, 0);
  two.refuse = null;
  silent = '';
  await two.session(2);
  await until(() => three.last.closed?.code === 1000, 'the device to have left');
  assert.is(one.peers.length, 0);
  await f.end();
  for (const other of [two, three]) await other.stop();
});

test('G-14: a change of network has an open session verified by a beat', async () => {
  const p = await pair({ probing: false }, { home: true });
  p.f.device.networkChanged();
  p.f.device.networkChanged();
  await p.one.last.first('beat');
  assert.is(p.one.last.of('beat').length, 1);
  assert.is(p.f.disconnected.length, 0);
  await p.end();
});

test('G-13, G-14: without a session, a change of network makes a device probe and dial soon', async () => {
  const reconnect = { baseMs: 3_600_000, capMs: 3_600_000, nowJitterMs: 1 };
  const p = await pair({ reconnect, random: () => 0.9 }, { home: true, connect: false });
  await p.at(p.one);
  p.one.last.socket.terminate();
  await until(() => p.f.disconnected.length === 1, 'the end');
  p.f.device.networkChanged();
  await p.at(p.two);
  assert.equal(p.probes.sort(), ['gw-1', 'gw-2']);
  await p.end();
});

test('G-14, S-8: a device that was deleted does not dial on any network', async () => {
  const p = await pair({}, { home: true });
  await p.at(p.one);
  await p.one.sendMembership(9, [], 1, { state: 'deleted' });
  await until(() => p.f.left.length === 1, 'the device to know');
  p.one.last.socket.close(4402);
  await until(() => p.f.disconnected.length === 1, 'the end');
  p.f.device.networkChanged();
  p.f.device.connectNow();
  assert.equal(p.probes, []);
  assert.is(p.f.disconnected[0]?.advice, 'never');
  await p.end();
});

test('G-14: the network is watched while the device runs', async () => {
  let tell: (() => void) | null = null;
  const p = await pair(
    {
      watchNetwork: (changed) => {
        tell = changed;
        return () => {
          tell = null;
        };
      },
    },
    { home: true },
  );
  (tell as unknown as () => void)();
  await until(() => p.probes.length >= 2, 'a round');
  await p.f.device.stop();
  assert.is(tell, null);
  await p.end();
});

test('G-14: another address is another network; a temporary IPv6 address or none at all is not', async () => {
  const ip = (address: string, family: 'IPv4' | 'IPv6' = 'IPv4') =>
    [{ address, family, netmask: '255.255.255.0', internal: false }] as never;
  let now: ReturnType<Parameters<typeof watchInterfaces>[1] & object> = {};
  let reads = 0;
  let changes = 0;
  const stop = watchInterfaces(1, () => {
    reads++;
    return now;
  })(() => changes++);
  const after = async (interfaces: typeof now) => {
    now = interfaces;
    const before = reads;
    await until(() => reads >= before + 2, 'a look');
    return changes;
  };
  assert.is(await after({ eth0: ip('10.0.0.5') }), 1);
  assert.is(await after({ eth0: ip('10.0.0.5') }), 1);
  assert.is(await after({}), 1);
  assert.is(await after({ wlan0: ip('10.0.0.5') }), 2);
  assert.is(await after({ wlan0: ip('2001:db8:0:1:aaaa:bbbb:1:1', 'IPv6') }), 3);
  assert.is(await after({ wlan0: ip('2001:db8:0:1:cccc:dddd:1:2', 'IPv6') }), 3);
  stop();
});

/** Of a device that prefers the first, and knows them all. */
async function known(p: Awaited<ReturnType<typeof pair>>, more: ScriptGateway[]): Promise<void> {
  await p.f.device.stop({ abrupt: true });
  const { state } = await p.f.store.load();
  const gateways = [p.one, p.two, ...more].map(({ address }) => address);
  await p.f.store.saveState({ ...state, gateways });
  p.f.disconnected.length = 0;
  await p.f.device.start();
}

test('G-15: a device dials the gateways that a refusal names, and then those of its own list', async () => {
  const p = await pair({ probing: false }, { home: true, connect: false });
  const three = await ScriptGateway.start('gw-3', p.one);
  const four = await ScriptGateway.start('gw-4', p.one);
  p.one.refuse = 3_600;
  p.one.elsewhere = ['gw-4', 'gw-9', 'gw-3'];
  p.two.refuse = 0;
  three.refuse = 0;
  three.elsewhere = ['gw-1'];
  four.refuse = 0;
  await known(p, [three, four]);
  await until(() => p.f.disconnected.length >= 4, 'attempts');
  assert.equal(
    p.f.disconnected.slice(0, 4).map(({ gateway, advice }) => `${gateway.name} ${advice}`),
    ['gw-1 now', 'gw-3 back-off', 'gw-4 back-off', 'gw-2 back-off'],
  );
  await p.end();
  await three.stop();
  await four.stop();
});

test('C-5: a device that was refused with names does not come back before Retry-After', async () => {
  const p = await pair({ probing: false }, { home: true, connect: false });
  const three = await ScriptGateway.start('gw-3', p.one);
  p.one.refuse = 3_600;
  p.one.elsewhere = ['gw-3'];
  three.refuse = 0;
  p.two.refuse = 0;
  await known(p, [three]);
  await until(() => p.f.disconnected.length >= 6, 'attempts');
  const names = p.f.disconnected.slice(0, 6).map(({ gateway }) => gateway.name);
  assert.equal(names.slice(0, 3), ['gw-1', 'gw-3', 'gw-2']);
  assert.not.ok(names.slice(3).includes('gw-1'));
  p.one.refuse = null;
  p.f.device.connectNow();
  await p.end();
  await three.stop();
});

test('G-10: over real sockets, far, refusing, strange and missing gateways are passed over', async () => {
  for (const probe of [httpProbe(), webProbe]) {
    const near = await ScriptGateway.start('gw-near');
    const far = await ScriptGateway.start('gw-far', near);
    const full = await ScriptGateway.start('gw-full', near);
    const strange = await ScriptGateway.start('gw-strange', near);
    far.probeDelayMs = 400;
    full.probeStatus = 503;
    strange.claimedName = 'gw-other';
    const gone = { name: 'gw-gone', url: 'ws://127.0.0.1:1' };
    const gateways = [far.address, full.address, strange.address, gone, near.address];
    const f = await fixture({
      gateway: near,
      store: near.store({ gateways }),
      options: { probe, probing: { timeoutMs: 5_000 } },
    });
    assert.equal([near.probes, far.probes, full.probes, strange.probes], [3, 3, 1, 1]);
    assert.is(f.disconnected.length, 0);
    await f.end();
    for (const other of [far, full, strange]) await other.stop();
  }
});

test('G-10: a gateway that does not answer in time is not measured', async () => {
  const slow = await ScriptGateway.start('gw-slow');
  slow.probeDelayMs = 5_000;
  const { signal } = new AbortController();
  for (const probe of [httpProbe(), webProbe]) {
    const error = await probe(slow.address, { count: 3, timeoutMs: 30, signal }).catch((why) => why);
    assert.is(error.name, probe === webProbe ? 'TimeoutError' : 'AbortError');
  }
  await slow.stop();
});

test('G-17: a device leaves a gateway without a pass for one that has it', async () => {
  const p = await pair({}, { home: true, connect: false });
  p.one.passFor = null;
  await p.at(p.two);
  assert.is(p.one.proofs, 1);
  assert.is(p.f.disconnected[0]?.reason, 'no pass of this gateway');
  await p.end();
});

test('G-17: a device stays with a gateway without a pass when no other admits it', async () => {
  const p = await pair({}, { home: true, connect: false });
  p.one.passFor = null;
  p.two.refuse = 1;
  await p.at(p.one, 2);
  await p.one.sendCommand('c1');
  assert.is((await p.one.last.first('result', 'c1')).state, 'succeeded');
  assert.is(p.one.proofs, 2);
  await p.end();
});

test.run();
