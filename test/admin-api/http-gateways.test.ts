import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { WorkerLoad } from '../../bus/bus.ts';
import { CLOSE, decodeGatewayMessage, decodeOrderBody } from '../../protocol/index.ts';
import { waitFor } from '../wait.ts';
import { type Http, startHttp } from './http-harness.ts';
import { INITIAL_SETTINGS } from './initial-settings.ts';

let http: Http;
test.before(async () => {
  http = await startHttp();
});
test.after(() => http.stop());

const make = (body: object) => http.call('POST', '/v1/gateways', { body });
const read = async (name: string) => (await http.call('GET', `/v1/gateways/${name}`, { as: 'viewer' })).body;

function lease(gateway: string, worker: string, load: Partial<WorkerLoad> = {}) {
  const identity = { worker, gateway, host: 'host-1', pid: 4, version: '1.0.0', initial: INITIAL_SETTINGS };
  const whole = {
    connections: 3,
    limit: 1000,
    revision: 1,
    admissionRate: 1.5,
    bufferedBytes: 10,
    memoryBytes: 1000,
    cpu: 0.25,
    ...load,
  };
  return http.bus.leases.acquire(identity, whole, 60_000);
}

test('a gateway is registered with defaults and projected for the gateways to read', async () => {
  const { status, headers, body } = await make({ name: 'gw1', address: 'wss://gw1.example.net:13295' });
  assert.is(status, 201);
  assert.is(headers.get('location'), '/v1/gateways/gw1');
  assert.equal(
    [body.groupId, body.runPushServer, body.port, body.connectionLimit, body.state],
    ['all', true, 13295, 50_000, 'down'],
  );
  assert.equal(await read('gw1'), body);
  const { items } = (await http.call('GET', '/v1/gateways')).body;
  assert.equal(items, [body]);
  await waitFor(async () => (await http.bus.directory.gateways()).some((gateway) => gateway.name === 'gw1'));
});

test('a name is taken once, its group must exist', async () => {
  await make({ name: 'twice', address: 'ws://a:1' });
  assert.is((await make({ name: 'twice', address: 'ws://a:1' })).status, 409);
  assert.is((await make({ name: 'x', groupId: 'nowhere', address: 'ws://a:1' })).status, 422);
  assert.is((await http.call('PATCH', '/v1/gateways/twice', { body: { groupId: 'nowhere' } })).status, 422);
});

test('an address is ws or wss with host and port and nothing else', async () => {
  for (const address of ['ws://10.0.0.1', 'wss://gw.example.net:443', 'ws://[::1]:13295', 'wss://a.b:1/']) {
    const { status, body } = await make({ name: `ok-${address.length}`, address });
    assert.is(status, 201, address);
    assert.is(body.address, address.replace(/\/$/, ''));
  }
  for (const address of [
    'http://gw:1',
    'gw:13295',
    'wss://',
    'wss://gw/path',
    'wss://gw?x=1',
    'wss://gw#x',
    'wss://user:secret@gw',
    'wss://@gw',
    'wss://gw:99999',
    'wss://g w',
    '',
  ]) {
    assert.is((await make({ name: 'bad', address })).status, 400, address);
  }
});

test('ports and limits have bounds, and names a form', async () => {
  const good = { name: 'bounds', address: 'ws://a:1' };
  for (const change of [
    { port: 0 },
    { port: 65_536 },
    { port: 1.5 },
    { port: '80' },
    { connectionLimit: 0 },
    { connectionLimit: 1_000_001 },
    { name: 'no spaces' },
    { name: '' },
    { runPushServer: 'yes' },
    { color: 'red' },
  ]) {
    assert.is((await make({ ...good, ...change })).status, 400, JSON.stringify(change));
  }
});

test('settings change together and grow the revision', async () => {
  await make({ name: 'tuned', address: 'ws://a:1' });
  const before = await read('tuned');
  const { status, body } = await http.call('PATCH', '/v1/gateways/tuned', {
    body: { runPushServer: false, port: 4000, connectionLimit: 10 },
  });
  assert.is(status, 200);
  assert.equal([body.state, body.port, body.connectionLimit], ['off', 4000, 10]);
  assert.ok(body.revision > before.revision);
  await waitFor(async () =>
    (await http.bus.directory.gateways()).some(
      (gateway) => gateway.name === 'tuned' && gateway.port === 4000,
    ),
  );
  assert.is((await http.call('PATCH', '/v1/gateways/tuned', { body: {} })).status, 400);
  assert.is((await http.call('PATCH', '/v1/gateways/nothing', { body: { port: 1 } })).status, 404);
});

test('a gateway with workers is up, adds up their load, and is not deleted before they stop', async () => {
  await make({ name: 'live', address: 'ws://a:1' });
  const first = await lease('live', 'live/0');
  const second = await lease('live', 'live/1', { connections: 4 });
  const view = await waitFor(async () => {
    const body = await read('live');
    return body.workers.length === 2 && body;
  });
  assert.is(view.state, 'up');
  assert.is(view.connections, 7);
  assert.equal(
    view.workers.map((worker: { worker: string }) => worker.worker),
    ['live/0', 'live/1'],
  );
  assert.is((await http.call('DELETE', '/v1/gateways/live')).status, 409);
  await http.bus.leases.release(first);
  await http.bus.leases.release(second);
  await waitFor(async () => (await read('live')).state === 'down');
  assert.is((await http.call('DELETE', '/v1/gateways/live')).status, 204);
  assert.is((await http.call('GET', '/v1/gateways/live')).status, 404);
  assert.is((await http.call('DELETE', '/v1/gateways/live')).status, 404);
  await waitFor(
    async () => !(await http.bus.directory.gateways()).some((gateway) => gateway.name === 'live'),
  );
});

test('a worker that cannot do as told makes its gateway a problem, and says which', async () => {
  await make({ name: 'stuck', address: 'ws://a:1' });
  const incarnation = await lease('stuck', 'stuck/0', { problem: 'port 13295 is taken' });
  const view = await waitFor(async () => {
    const body = await read('stuck');
    return body.state === 'problem' && body;
  });
  assert.is(view.problem, 'port 13295 is taken');
  await http.bus.leases.release(incarnation);
});

const eventually = (name: string, is: (body: Awaited<ReturnType<typeof read>>) => unknown) =>
  waitFor(async () => {
    const body = await read(name);
    return is(body) && body;
  });

async function events(name: string): Promise<string[]> {
  const found = await http.store.events.after(0, 10_000);
  return found.filter((event) => (event.data as { name?: string }).name === name).map((event) => event.type);
}

test('a drain reaches the gateway, shows until the last device has left, and can be canceled', async () => {
  await make({ name: 'leaver', address: 'ws://a:1' });
  const incarnation = await lease('leaver', 'leaver/0', { port: 13_295 });
  await eventually('leaver', (body) => body.state === 'up' && body.applied);
  const drained = await http.call('POST', '/v1/gateways/leaver/drain');
  assert.is(drained.status, 202);
  assert.equal([drained.body.draining, drained.body.state, drained.body.applied], [true, 'draining', false]);
  assert.ok(drained.body.drainingSince);
  const inDirectory = await waitFor(async () =>
    (await http.bus.directory.gateways()).find(({ name, draining }) => name === 'leaver' && draining),
  );
  assert.equal([inDirectory.weight, inDirectory.revision], [0, 2]);
  const load = { limit: 1000, admissionRate: 0, bufferedBytes: 0, memoryBytes: 0, cpu: 0, revision: 2 };
  await http.bus.leases.extend(
    incarnation,
    { ...load, connections: 2, leaving: { why: 'drain', left: 2 } },
    60_000,
  );
  const leaving = await eventually('leaver', (body) => body.leaving);
  assert.equal(
    [leaving.state, leaving.leaving, leaving.applied],
    ['draining', { why: 'drain', left: 2 }, true],
  );
  await http.bus.leases.extend(
    incarnation,
    { ...load, connections: 0, leaving: { why: 'drain', left: 0 } },
    60_000,
  );
  const empty = await eventually('leaver', (body) => body.state === 'drained');
  assert.is(empty.leaving, undefined);
  assert.is((await http.call('POST', '/v1/gateways/leaver/drain')).body.revision, 2);
  const canceled = await http.call('DELETE', '/v1/gateways/leaver/drain');
  assert.is(canceled.status, 200);
  assert.equal(
    [canceled.body.draining, canceled.body.drainingSince, canceled.body.revision],
    [false, null, 3],
  );
  assert.is((await http.call('DELETE', '/v1/gateways/leaver/drain')).body.revision, 3);
  assert.equal(
    (await events('leaver')).filter((type) => type.startsWith('gateway.drain')),
    ['gateway.draining', 'gateway.drain-canceled'],
  );
  assert.is((await http.call('POST', '/v1/gateways/nothing/drain')).status, 404);
  assert.is((await http.call('DELETE', '/v1/gateways/nothing/drain')).status, 404);
  assert.is((await http.call('POST', '/v1/gateways/leaver/drain', { as: 'operator' })).status, 403);
  await http.bus.leases.release(incarnation);
});

test('the address follows the port when it named the old one, and stays when it named another', async () => {
  const change = async (name: string, body: object) =>
    (await http.call('PATCH', `/v1/gateways/${name}`, { body })).body.address;
  await make({ name: 'p1', address: 'ws://gw.example.net:13295' });
  assert.is(await change('p1', { port: 4001 }), 'ws://gw.example.net:4001');
  assert.is(await change('p1', { port: 4002, address: 'ws://proxy:443' }), 'ws://proxy:443');
  assert.is(await change('p1', { port: 4003 }), 'ws://proxy:443');
  await make({ name: 'p2', address: 'wss://[::1]:443', port: 443 });
  assert.is(await change('p2', { port: 4001 }), 'wss://[::1]:4001');
  await make({ name: 'p3', address: 'wss://gw.example.net', port: 443 });
  assert.is(await change('p3', { port: 8443 }), 'wss://gw.example.net:8443');
});

test('states tell apart what starts, serves, leaves, and is off; loads are added up', async () => {
  await make({ name: 'states', address: 'ws://a:1' });
  const incarnation = await lease('states', 'states/0', { connections: 0, revision: 0 });
  const starting = await eventually('states', (body) => body.workers.length === 1);
  assert.equal([starting.state, starting.applied], ['starting', false]);
  const roundTripMs = { p50: 1, p90: 2, p99: 3 };
  const second = await lease('states', 'states/1', { port: 13_295, connections: 6, roundTripMs });
  const up = await eventually('states', (body) => body.state === 'up');
  assert.equal(
    [up.load.connections, up.load.limit, up.load.admissionRate, up.load.cpu, up.load.roundTripMs],
    [6, 2000, 3, 0.5, roundTripMs],
  );
  const load = { limit: 1000, admissionRate: 0, bufferedBytes: 0, memoryBytes: 0, cpu: 0, revision: 1 };
  for (const each of [incarnation, second]) {
    await http.bus.leases.extend(
      each,
      { ...load, connections: 3, leaving: { why: 'stop', left: 3 } },
      60_000,
    );
  }
  const stopping = await eventually('states', (body) => body.state === 'leaving');
  assert.equal(stopping.leaving, { why: 'stop', left: 6 });
  // The newest settings say that it serves; its workers have yet to hear of it.
  for (const each of [incarnation, second]) {
    await http.bus.leases.extend(
      each,
      { ...load, connections: 0, leaving: { why: 'drain', left: 0 } },
      60_000,
    );
  }
  await eventually('states', (body) => body.state === 'starting');
  await http.bus.leases.extend(second, { ...load, connections: 1 }, 60_000);
  await eventually('states', (body) => body.connections === 1);
  await http.call('PATCH', '/v1/gateways/states', { body: { runPushServer: false } });
  assert.is((await read('states')).state, 'leaving');
  await http.bus.leases.release(second);
  await eventually('states', (body) => body.state === 'off');
  await http.bus.leases.release(incarnation);
});

test('the weight of a gateway is its free capacity in eighths, and 0 while it takes nobody', async () => {
  await make({ name: 'weighed', address: 'ws://a:1', connectionLimit: 800 });
  const weight = async () =>
    (await http.bus.directory.gateways()).find((gateway) => gateway.name === 'weighed')?.weight;
  const incarnation = await lease('weighed', 'weighed/0', { port: 1, connections: 0, limit: 800 });
  const load = {
    limit: 800,
    admissionRate: 0,
    bufferedBytes: 0,
    memoryBytes: 0,
    cpu: 0,
    revision: 1,
    port: 1,
  };
  await waitFor(async () => (await weight()) === 800, { what: 'the whole capacity' });
  for (const [connections, expected] of [
    [350, 500],
    // Just beyond the edge of the step: not worth telling everyone.
    [401, 500],
    [430, 400],
    [799, 100],
    [800, 0],
  ] as const) {
    await http.bus.leases.extend(incarnation, { ...load, connections }, 60_000);
    await eventually('weighed', (body) => body.connections === connections);
    http.projector.gatewaysChangedSoon();
    await waitFor(async () => (await weight()) === expected, { what: `${expected} at ${connections}` });
  }
  await http.bus.leases.release(incarnation);
  await waitFor(async () => (await weight()) === 0);
});

test('the API names groups with fewer than two gateways, and explains placements', async () => {
  await http.call('POST', '/v1/groups', { body: { name: 'Lab', id: 'lab' } });
  const device = await http.enrol('lab');
  const coverage = async () => (await http.call('GET', '/v1/status', { as: 'viewer' })).body.coverage;
  const placement = async () =>
    (await http.call('GET', `/v1/devices/${device}/placement`, { as: 'viewer' })).body;
  assert.equal(await coverage(), { total: 1, groups: [{ groupId: 'lab', devices: 1, gateways: [] }] });
  await make({ name: 'lab1', groupId: 'lab', address: 'ws://lab1:1', port: 1 });
  assert.is((await placement()).code, 'no-gateway', 'devices are not told of one that never listened');
  await http.serves('lab0', 'ws://lab0:1', 'lab');
  assert.is((await placement()).code, 'offline');
  await make({ name: 'lab2', groupId: 'lab', address: 'ws://lab2:1', port: 1 });
  const leases = [await lease('lab1', 'lab1/0', { port: 1 })];
  await eventually('lab1', (body) => body.state === 'up');
  assert.equal((await coverage()).groups, [{ groupId: 'lab', devices: 1, gateways: ['lab1'] }]);
  leases.push(await lease('lab2', 'lab2/0', { port: 1 }));
  await eventually('lab2', (body) => body.state === 'up');
  assert.equal(await coverage(), { total: 0, groups: [] });

  const connect = (gateway: string, session: number) => ({
    device,
    session,
    connected: { incarnation: 'i', worker: `${gateway}/0`, gateway, address: '', software: 's', caps: [] },
    at: Date.now(),
  });
  await http.store.devices.applySessions([connect('lab1', 1)]);
  const here = await placement();
  assert.is(here.data.gateway, 'lab1');
  const names = here.data.list.map((gateway: { name: string }) => gateway.name);
  assert.is(here.data.rank, names.indexOf('lab1') + 1);
  assert.ok(['lab1', 'lab2'].every((name) => names.includes(name)));
  const measured = (lab1: number, lab2: number) =>
    http.store.devices.applyMeasures([
      {
        device,
        near: '',
        measured: [
          { name: 'lab1', ms: lab1 },
          { name: 'lab2', ms: lab2 },
        ],
      },
    ]);
  await measured(2, 40);
  const nearest = await placement();
  assert.equal(
    [nearest.code, nearest.sentence],
    ['nearest', 'Gateway lab1 is the nearest that this device measured: lab1 2 ms (lab2 40 ms).'],
  );
  assert.equal(nearest.data.list.flatMap(({ ms }: { ms: number | null }) => ms ?? []).sort(), [2, 40]);
  await measured(2, 3);
  assert.ok(['first', 'chosen'].includes((await placement()).code));
  await measured(40, 2);
  await http.store.devices.applySessions([
    { device, session: 1, disconnected: { code: 1006, reason: 'lost' }, at: Date.now() },
    connect('lab1', 2),
  ]);
  const displaced = await placement();
  assert.is(displaced.code, 'displaced');
  assert.match(
    displaced.sentence,
    new RegExp(
      'on gateway lab1 40 ms, although it measured nearer ones \\(lab2 2 ms\\): ' +
        'it came at .* had ended \\(1006 lost\\)',
    ),
  );
  await waitFor(() => http.projector.toldOf('lab2'), { what: 'the address of lab2 to be recorded' });
  await http.bus.leases.release(leases.pop() as string);
  await eventually('lab2', (body) => body.state === 'down');
  const alone = await placement();
  assert.is(alone.code, 'others-unavailable');
  assert.match(alone.sentence, /none of those takes devices \(lab2 \(down\)\)/);
  await http.call('POST', '/v1/gateways/lab2/drain');
  await eventually('lab2', (body) => body.drainingSince !== null);
  const unlisted = await placement();
  assert.is(unlisted.code, 'nearest');
  assert.match(unlisted.sentence, /Nearer, but not usable now: lab2 2 ms, down\.$/);
  await http.call('PATCH', `/v1/devices/${device}`, { body: { groupId: 'all' } });
  const moved = await placement();
  assert.equal([moved.code, moved.data.rank], ['out-of-scope', null]);
  assert.match(moved.sentence, /lab1 does not serve group all/);
  assert.is((await http.call('GET', '/v1/devices/nobody/placement')).status, 404);
  for (const incarnation of leases) await http.bus.leases.release(incarnation);
});

test('a device moved to another group is redirected to a gateway of that group', async () => {
  await http.call('POST', '/v1/groups', { body: { name: 'Shop', id: 'shop' } });
  await http.call('POST', '/v1/groups', { body: { name: 'Till', id: 'till', parentId: 'shop' } });
  await http.call('POST', '/v1/groups', { body: { name: 'Depot', id: 'depot' } });
  await make({ name: 'shop1', groupId: 'shop', address: 'ws://shop1:1', port: 1 });
  await http.serves('depot1', 'ws://depot1:1', 'depot');
  const device = await http.enrol('shop');
  const incarnation = await lease('shop1', 'shop1/0', { port: 1 });
  await eventually('shop1', (body) => body.state === 'up');
  const [claim] = await http.bus.presence.claim(incarnation, [{ device }]);
  const delivered = async () => {
    const { entries } = await http.bus.outboxes.read(incarnation, null, 100);
    return entries.map(({ delivery }) => ({
      close: delivery.close,
      message: delivery.frame && decodeGatewayMessage(delivery.frame),
    }));
  };
  await http.call('PATCH', `/v1/devices/${device}`, { body: { groupId: 'till' } });
  const stays = await delivered();
  assert.equal(
    stays.map(({ message }) => message?.t),
    ['order', 'order', 'update'],
  );
  assert.ok(stays.every(({ close }) => close === undefined));
  await http.call('PATCH', `/v1/devices/${device}`, { body: { groupId: 'depot' } });
  const [order, list, redirect] = (await delivered()).slice(3);
  assert.is(order?.message?.t, 'order');
  assert.ok(list?.message?.t === 'order');
  const body = decodeOrderBody(list.message.body);
  assert.ok(body?.kind === 'gateways', 'G-18: the list of its new group comes before the names');
  assert.equal([body.target, body.gateways.map(({ name }) => name)], [{ group: 'depot' }, ['depot1']]);
  assert.equal(redirect?.close, { code: CLOSE.outOfScope, reason: 'scope', sessions: [claim?.session] });
  const { message } = redirect ?? {};
  assert.ok(message?.t === 'redirect' && message.reason === 'scope' && message.withinMs === 0);
  assert.ok(message.to.includes('depot1'));
  assert.not.ok(message.to.includes('shop1'));
  await http.bus.leases.release(incarnation);
});

test.run();
