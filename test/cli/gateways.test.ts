import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { GatewayView } from '../../cli/api/views.ts';
import { drainOutcome } from '../../cli/operator/gateway-wait.ts';
import { run } from '../../cli/run.ts';
import { type Handle, json, smallServer, testShell } from './small-server.ts';

function gateway(change: Partial<GatewayView> = {}): GatewayView {
  return {
    name: 'gw1',
    groupId: 'all',
    runPushServer: true,
    port: 13_295,
    address: 'ws://gw1:13295',
    connectionLimit: 1000,
    revision: 1,
    told: 'ws://gw1:13295',
    formerPorts: [],
    state: 'up',
    applied: true,
    draining: false,
    drainingSince: null,
    drainedAt: null,
    load: {
      connections: 250,
      limit: 1000,
      admissionRate: 1.25,
      roundTripMs: { p50: 1.24, p90: 5, p99: 31.6 },
      cpu: 0.5,
      memoryBytes: 1,
      bufferedBytes: 0,
    },
    connections: 250,
    connectedOnRecord: 250,
    workers: [
      {
        worker: 'gw1/0',
        host: 'h',
        pid: 1,
        version: '1',
        connections: 250,
        limit: 1000,
        admissionRate: 1.25,
        bufferedBytes: 0,
        memoryBytes: 1,
        cpu: 0.5,
        revision: 1,
        port: 13_295,
      },
    ],
    createdAt: '2026-01-01T00:00:00.000Z',
    updatedAt: '2026-01-01T00:00:00.000Z',
    ...change,
  };
}

/**
 * Answers changes with `changed`, and looks at the gateway with one view after the other, the last for ever.
 */
function answering(views: GatewayView[], changed = views[0]): Handle {
  let looks = 0;
  return (request, response) => {
    if (request.method !== 'GET') return json(response, 200, changed);
    const view = views[Math.min(looks, views.length - 1)];
    looks += 1;
    return json(response, 200, view);
  };
}

async function pushpoint(args: string[], handle: Handle) {
  const server = await smallServer(handle);
  const shell = testShell({ PUSHPOINT_TOKEN: 'ppt_x', PUSHPOINT_SERVER: server.url });
  try {
    return { code: await run(args, shell), shell, asked: server.asked };
  } finally {
    await server.stop();
  }
}

test('the list tells load, round trips, what leaves, and groups without a second gateway', async () => {
  const leaving = { why: 'drain', left: 120 } as const;
  const items = [gateway(), gateway({ name: 'gw2', state: 'draining', draining: true, leaving })];
  const coverage = {
    total: 2,
    groups: [
      { groupId: 'lab', devices: 7, gateways: [] },
      { groupId: 'shop', devices: 1, gateways: ['gw1'] },
    ],
  };
  const { code, shell } = await pushpoint(['gateways'], (request, response) =>
    json(response, 200, request.url?.startsWith('/v1/status') ? { coverage } : { items, next: null }),
  );
  assert.is(code, 0);
  assert.match(shell.out, /gw1 +up +all +ws:\/\/gw1:13295 +250 +1000 +25 % +1\.3 +1\.2\/32 +- +-/);
  assert.match(shell.out, /gw2 +draining .*120 left \(drain\)/);
  assert.match(shell.out, /lab: 7 devices, no gateway in service\nshop: 1 device, only gw1\n/);
});

test('a drain is asked for, and waited for until the last device has left', async () => {
  const draining = gateway({ state: 'draining', draining: true, leaving: { why: 'drain', left: 9 } });
  const drained = gateway({ state: 'drained', draining: true, connections: 0 });
  const { code, shell, asked } = await pushpoint(
    ['gateways', 'drain', 'gw1', '--wait'],
    answering([draining, drained], draining),
  );
  assert.is(code, 0);
  assert.is(asked[0], 'POST /v1/gateways/gw1/drain');
  assert.match(shell.err, /gw1: draining, 9 left \(drain\)/);
  assert.match(shell.out, /State +drained/);
});

test('a drain is done once all its devices are elsewhere, and counts those on the way', async () => {
  const drained = gateway({ state: 'drained', draining: true, connections: 0 });
  const { code, shell } = await pushpoint(
    ['gateways', 'drain', 'gw1', '--wait'],
    answering(
      [
        { ...drained, onTheWay: 3 },
        { ...drained, onTheWay: 1 },
        { ...drained, onTheWay: 0 },
      ],
      drained,
    ),
  );
  assert.is(code, 0);
  assert.match(shell.err, /gw1: drained, 0 connected, 3 on the way/);
  assert.match(shell.err, /1 on the way/);
});

test('a drain whose devices arrive nowhere fails after three minutes without progress', () => {
  const outcome = drainOutcome();
  const at = (minutes: number, state: GatewayView['state'], onTheWay: number) =>
    outcome(gateway({ state, draining: true, onTheWay }), minutes * 60_000);
  assert.equal([at(0, 'draining', 0), at(10, 'draining', 9), at(11, 'drained', 9)], [null, null, null]);
  assert.equal([at(13.5, 'drained', 8), at(16.4, 'drained', 8)], [null, null]);
  assert.is(at(16.5, 'drained', 8), 'failed');
  assert.is(at(17, 'down', 0), 'done');
});

test('an undrain is shown once the workers have taken it up', async () => {
  const stale = gateway({ applied: false, leaving: { why: 'drain', left: 3 } });
  const undrain = ['gateways', 'undrain', 'gw1'];
  const { code, shell, asked } = await pushpoint(undrain, answering([stale, gateway()], stale));
  assert.is(code, 0);
  const ofGateways = asked.filter((line) => line.includes('/v1/gateways'));
  assert.equal(ofGateways, ['DELETE /v1/gateways/gw1/drain', 'GET /v1/gateways/gw1', 'GET /v1/gateways/gw1']);
  assert.match(shell.out, /Settings +in force/);
  assert.not.match(shell.out, /3 left/);
});

test('the limit shown is the one in force: workers with few descriptors take fewer', async () => {
  const few = gateway({ load: { ...gateway().load, limit: 881 } });
  const { shell } = await pushpoint(['gateways', 'show', 'gw1'], answering([few]));
  assert.match(shell.out, /250 of at most 881 \(1000 by its settings, fewer by its descriptors\)/);
});

test('a drain that somebody cancels is not done: exit 5; one that takes too long: exit 6', async () => {
  const draining = gateway({ state: 'draining', draining: true });
  const wait = ['gateways', 'drain', 'gw1', '--wait'];
  assert.is((await pushpoint(wait, answering([draining, gateway()], draining))).code, 5);
  const late = await pushpoint([...wait, '--wait-timeout', '100ms'], answering([draining]));
  assert.is(late.code, 6);
  assert.match(late.shell.err, /Gave up waiting: gw1: draining/);
});

test('settings are waited for until they are in force, or a problem says why they cannot be', async () => {
  const set = ['gateways', 'set', 'gw1', '--port', '4000', '--wait'];
  const before = gateway();
  const changed = gateway({ port: 4000, revision: 2, applied: false });
  const done = await pushpoint(
    set,
    answering([before, changed, gateway({ port: 4000, revision: 2 })], changed),
  );
  assert.is(done.code, 0);
  assert.match(done.shell.out, /Settings +in force/);
  const problem = 'port 4000 is in use by another program; choose another';
  const stuck = gateway({ port: 4000, revision: 2, applied: false, state: 'problem', problem });
  const refused = await pushpoint(set, answering([before, changed, stuck], changed));
  assert.is(refused.code, 5);
  assert.match(refused.shell.out, /State +problem: port 4000 is in use/);
  const absent = gateway({ state: 'down', applied: false, workers: [] });
  assert.is((await pushpoint(set, answering([absent]))).code, 0);
});

test('a device is shown with why it is where it is', async () => {
  const sentence = 'Gateway gw1 is first of 2 in the list of this device.';
  const list = [
    { name: 'gw1', weight: 8, state: 'up' },
    { name: 'gw2', weight: 0, state: 'down' },
  ];
  const placement = { sentence, code: 'first', data: { gateway: 'gw1', rank: 1, list } };
  const here = { gateway: 'gw1', worker: 'gw1/0', displaced: null, cloned: null };
  const device = { id: 'd1', name: 'kiosk', state: 'connected', caps: [], ...here };
  const handle: Handle = (request, response) =>
    json(response, 200, request.url?.endsWith('/placement') ? placement : device);
  const { code, shell } = await pushpoint(['devices', 'show', 'd1'], handle);
  assert.is(code, 0);
  assert.match(shell.out, /Placement +Gateway gw1 is first of 2/);
  assert.match(shell.out, /Gateways +gw1, gw2 \(down\)/);
  const machine = await pushpoint(['devices', 'show', 'd1', '--json'], handle);
  assert.equal(JSON.parse(machine.shell.out), { ...device, placement });
});

test.run();
