/** The balancer over a real store and the in-process bus; workers and devices are played. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { nearText } from '../../admin-api/balance/nearness.ts';
import type { Position, WorkerLoad } from '../../bus/bus.ts';
import { CLOSE, decodeGatewayMessage, type Redirect } from '../../protocol/index.ts';
import { waitFor } from '../wait.ts';
import { composed } from './composed.ts';
import { addDevices, T0 } from './store-fixtures.ts';

interface Left {
  device: string;
  from: string;
  redirect: Redirect;
  code: number;
  atMs: number;
}

/** A worker that obeys: devices it is told to close connect to the first gateway their redirect names. */
class PlayedWorker {
  readonly gateway: string;
  readonly sessions = new Map<string, number>();
  readonly deployment: Deployment;
  incarnation = '';
  position: Position | null = null;
  load: WorkerLoad;

  constructor(deployment: Deployment, gateway: string, limit: number) {
    this.deployment = deployment;
    this.gateway = gateway;
    this.load = {
      connections: 0,
      limit,
      revision: 1,
      admissionRate: 0,
      bufferedBytes: 0,
      memoryBytes: 0,
      cpu: 0,
      port: 1,
    };
  }

  async start(): Promise<void> {
    const { gateway, load } = this;
    const initial = { group: 'all', runPushServer: true, port: 1, address: 'ws://x:1', connectionLimit: 1 };
    const identity = { worker: `${gateway}/0`, gateway, host: 'h', pid: 1, version: '1', initial };
    this.incarnation = await this.deployment.bus.leases.acquire(identity, load, 60_000);
  }

  async connect(devices: readonly string[]): Promise<void> {
    const { bus, store } = this.deployment;
    const claims = await bus.presence.claim(
      this.incarnation,
      devices.map((device) => ({ device })),
    );
    const connected = {
      incarnation: this.incarnation,
      worker: `${this.gateway}/0`,
      gateway: this.gateway,
      address: '192.0.2.1',
      software: 'agent 1',
      caps: ['sync'],
    };
    const changes = devices.map((device, i) => ({
      device,
      session: claims[i]?.session ?? 0,
      connected,
      at: T0,
    }));
    for (const { device, session } of changes) this.sessions.set(device, session);
    await store.devices.applySessions(changes);
    await this.report();
  }

  async report(change: Partial<WorkerLoad> = {}): Promise<void> {
    this.load = { ...this.load, ...change, connections: this.sessions.size };
    await this.deployment.bus.leases.extend(this.incarnation, this.load, 60_000);
  }

  /** Reads the outbox once and does what it says. */
  async obey(): Promise<void> {
    const { bus, left, workers } = this.deployment;
    const { position, entries } = await bus.outboxes.read(this.incarnation, this.position, 1000);
    this.position = position;
    const atMs = performance.now();
    for (const { delivery } of entries) {
      for (const [i, device] of delivery.devices.entries()) {
        if (!delivery.close || !delivery.frame) continue;
        assert.is(delivery.close.sessions?.[i], this.sessions.get(device), 'the session it has is closed');
        const redirect = decodeGatewayMessage(delivery.frame) as Redirect;
        left.push({
          device,
          from: this.gateway,
          redirect,
          code: delivery.close.code,
          atMs,
        });
        this.sessions.delete(device);
        await workers.get(redirect.to[0] as string)?.connect([device]);
      }
    }
    if (entries.length > 0) await this.report();
  }
}

type Deployment = Awaited<ReturnType<typeof startDeployment>>;
let deployment: Deployment;

async function startDeployment(movesPerSecond: number) {
  const parts = await composed({
    config: { leasesIntervalMs: 20, balanceMovesPerSecond: movesPerSecond },
  });
  const { store, leases, directory } = parts;
  await leases.start(() => directory.gatewaysChangedSoon());
  await directory.start();
  const workers = new Map<string, PlayedWorker>();
  const left: Left[] = [];

  async function addGateway(name: string, groupId = 'all', limit = 1000): Promise<PlayedWorker> {
    await store.gateways.create({
      name,
      groupId,
      runPushServer: true,
      port: 1,
      address: `ws://${name}:1`,
      connectionLimit: limit,
      revision: 1,
      drainingSince: null,
      drainedAt: null,
      createdAt: T0,
      updatedAt: T0,
    });
    const worker = new PlayedWorker(made, name, limit);
    await worker.start();
    workers.set(name, worker);
    return worker;
  }

  async function stop(): Promise<void> {
    await parts.balancer.stop();
    await leases.stop();
    await directory.stop();
    await parts.stop();
  }
  const made = { ...parts, workers, left, addGateway, stop };
  return made;
}

async function play(until: () => boolean | Promise<boolean>): Promise<void> {
  await waitFor(
    async () => {
      for (const worker of [...deployment.workers.values()]) await worker.obey();
      return until();
    },
    { timeoutMs: 30_000 },
  );
}

const counts = () => [...deployment.workers.values()].map((worker) => worker.sessions.size);
const spread = () => {
  const all = counts();
  const mean = all.reduce((sum, n) => sum + n, 0) / all.length;
  return Math.max(...all.map((n) => Math.abs(n - mean) / mean));
};

test.before(async () => {
  deployment = await startDeployment(50);
});
test.after(() => deployment.stop());

test('a gateway that joins gets its share: a bounded number of redirected devices a second', async () => {
  const devices = await addDevices(deployment.store, 'd', 300);
  const gw1 = await deployment.addGateway('gw1');
  const gw2 = await deployment.addGateway('gw2');
  await gw1.connect(devices.slice(0, 150));
  await gw2.connect(devices.slice(150));
  await deployment.addGateway('gw3');
  deployment.balancer.start();
  await play(() => spread() <= 0.1);
  assert.ok(deployment.left.length <= 100, `${deployment.left.length} moves`);
  assert.is(
    new Set(deployment.left.map((left) => left.device)).size,
    deployment.left.length,
    'nobody moves twice',
  );
  for (const { redirect, code } of deployment.left) {
    assert.is(redirect.to[0], 'gw3');
    assert.is(redirect.to.length, 3);
    assert.is(redirect.reason, 'balance');
    assert.is(code, CLOSE.redirected);
  }
  for (const { atMs } of deployment.left) {
    const within = deployment.left.filter((left) => left.atMs >= atMs && left.atMs < atMs + 700).length;
    assert.ok(within <= 50, `${within} moves within a second`);
  }
  const events = (await deployment.store.events.after(0, 100)).filter(
    (event) => event.type === 'balance.moved',
  );
  const moved = events.map((event) => event.data as { from: string; to: string; count: number });
  assert.is(
    moved.reduce((sum, { count }) => sum + count, 0),
    deployment.left.length,
  );
  assert.match(
    await deployment.registry.metrics(),
    /pushpoint_admin_balance_moves_total\{from="gw1",to="gw3"\}/,
  );
});

test('a device that is on a gateway outside its scope is sent to one of its group', async () => {
  await deployment.store.groups.create({ id: 'lab', parentId: 'all', name: 'Lab', createdAt: T0 });
  const lab = await deployment.addGateway('lab1', 'lab');
  const [stray] = await addDevices(deployment.store, 'stray', 1);
  deployment.left.length = 0;
  await lab.connect([stray as string]);
  await play(() => deployment.left.length > 0);
  const [left] = deployment.left;
  assert.equal([left?.device, left?.from, left?.code], [stray, 'lab1', CLOSE.outOfScope]);
  assert.equal([...(left?.redirect.to ?? [])].sort(), ['gw1', 'gw2', 'gw3']);
  await lab.report();
});

/** Looks of the balancer from now on. */
function looks(): { count: number } {
  const { devices } = deployment.store;
  const seen = { count: 0 };
  const placements = devices.placements.bind(devices);
  devices.placements = () => {
    seen.count++;
    return placements();
  };
  return seen;
}

test('devices stay at the nearest gateway; only those above its limit go to the next', async () => {
  await deployment.store.groups.create({ id: 'near', parentId: 'all', name: 'Near', createdAt: T0 });
  const near = await deployment.addGateway('near', 'near');
  const middle = await deployment.addGateway('middle', 'near');
  await deployment.addGateway('far', 'near');
  const [devices, strangers] = await Promise.all([
    addDevices(deployment.store, 'n', 60, 'near'),
    addDevices(deployment.store, 'm', 3, 'near'),
  ]);
  const measured = [
    { name: 'near', ms: 2 },
    { name: 'middle', ms: 40 },
    { name: 'far', ms: 120 },
  ];
  const known = new Set(['near', 'middle', 'far']);
  await deployment.store.devices.applyMeasures(
    devices.map((device) => ({ device, near: nearText(measured, known), measured })),
  );
  deployment.left.length = 0;
  await near.connect(devices);
  await middle.connect(strangers);
  const seen = looks();
  await play(() => seen.count >= 5);
  assert.equal(deployment.left, []);
  near.load = { ...near.load, limit: 50 };
  await near.report();
  await play(() => near.sessions.size <= 50);
  const before = seen.count;
  await play(() => seen.count >= before + 3);
  assert.is(near.sessions.size, 50);
  assert.equal([...new Set(deployment.left.map(({ redirect }) => redirect.to[0]))], ['middle']);
});

test('a drained gateway gets no devices; that it is empty is reported once', async () => {
  const gw3 = deployment.workers.get('gw3') as PlayedWorker;
  const draining = await deployment.store.gateways.setDraining('gw3', T0, T0);
  const away = [...gw3.sessions.keys()];
  gw3.sessions.clear();
  await deployment.workers.get('gw1')?.connect(away);
  const { port: _port, ...silent } = gw3.load;
  gw3.load = silent;
  await gw3.report({ revision: draining?.revision ?? 0 });
  await play(async () => (await deployment.store.gateways.get('gw3'))?.drainedAt !== null);
  await play(() => Math.abs((counts()[0] as number) - (counts()[1] as number)) <= 15);
  assert.is(gw3.sessions.size, 0);
  const events = await deployment.store.events.after(0, 1000);
  assert.equal(
    events.filter((event) => event.type === 'gateway.drained').map((event) => event.data),
    [{ name: 'gw3' }],
  );
});

test('one administration server balances at a time, and hands over when it stops', async () => {
  const other = (await deployment.another()).balancer;
  assert.is(await deployment.store.meta.hold('balancer', 'another', 1000, Date.now()), false);
  await deployment.balancer.stop();
  assert.is(await deployment.store.meta.hold('balancer', 'another', 1000, Date.now()), true);
  await other.stop();
});

test.run();
