/**
 * Compares Pushpoint with servers that users might choose instead: the same number of connections from the
 * same load generator, one server at a time. The peers' clients prove and answer nothing (MQTT acknowledges);
 * ours do everything that they do in production.
 */
import { Swarm } from '../load/swarm.ts';
import { START_SETTLE_MS, sharedNow } from '../measure/clock.ts';
import { percentile } from '../measure/percentiles.ts';
import { cpuMs, processTree, pssBytes } from '../measure/processes.ts';
import { mosquitto } from '../peers/debian/mosquitto.ts';
import { natsServer } from '../peers/debian/nats.ts';
import { nchan } from '../peers/debian/nchan.ts';
import { socketIo, uWebSockets, ws } from '../peers/node-peers.ts';
import { type Peer, PeerMissing, type RunningPeer } from '../peers/peer.ts';
import { type PeerFigures, peersTable } from '../peers/table.ts';
import type { Bench, Scenario } from '../scenario.ts';
import { forceSync, whenFinished } from '../site/commands.ts';
import { prepareFleet } from '../site/fleet.ts';

const PEERS: readonly Peer[] = [uWebSockets, ws, socketIo, nchan, mosquitto, natsServer];
const WORKERS = 2;
/** One round of every server's own pings at least: socket.io's are 25 s after each connect. */
const REST_MS = 26_000;
/** Messages to all, one after another; the figures are those of the message with the median last arrival. */
const ROUNDS = 5;
const QUICK_ROUNDS = 1;
/** About the size of an order to a group on the wire. */
const MESSAGE_BYTES = 260;

export const peers: Scenario = {
  name: 'peers',
  title:
    'idle and fan-out on what users would pick instead: uWebSockets.js, ws, socket.io, nchan, ' +
    'mosquitto, NATS',
  // One process must hold them with the descriptor limit of many systems.
  devices: 10_000,
  quickDevices: 200,
  run,
};

async function run(bench: Bench): Promise<void> {
  const measured: PeerFigures[] = [];
  const missing: string[] = [];
  let ours: PeerFigures | undefined;
  const add = async (measure: () => Promise<PeerFigures>): Promise<PeerFigures> => {
    const figures = await alone(bench, measure);
    measured.push(figures);
    tell(bench, figures, ours);
    return figures;
  };
  // Other scenarios measure ours in a quick run.
  if (!bench.quick) ours = await add(() => measurePushpoint(bench));
  for (const peer of PEERS) {
    try {
      await add(() => measurePeer(bench, peer));
    } catch (error) {
      if (!(error instanceof PeerMissing)) throw error;
      missing.push(`${peer.name}: ${error.message}`);
      bench.say(`${peer.name} is left out: ${error.message}`);
    }
  }
  process.stdout.write(`\n${peersTable(measured, missing)}\n\n`);
}

/** One server at a time: stops everything that it used before the next one starts. */
async function alone(bench: Bench, measure: () => Promise<PeerFigures>): Promise<PeerFigures> {
  try {
    return await measure();
  } finally {
    await bench.stop();
  }
}

function tell(bench: Bench, figures: PeerFigures, ours: PeerFigures | undefined): void {
  const { name } = figures;
  bench.invariant(`${name}: connections it did not hold`, bench.devices - figures.held);
  bench.invariant(`${name}: messages that came more than once`, figures.tooMany);
  bench.figure(`${name}: connect rate`, 'connections/s', figures.connectsPerSecond);
  bench.figure(`${name}: CPU per connect`, 'µs', figures.cpuUsPerConnect);
  bench.figure(`${name}: memory per connection`, 'bytes', figures.bytesPerDevice);
  bench.figure(`${name}: CPU at rest`, '% of a core', figures.cpuAtRest);
  bench.figure(`${name}: one message to all, p50`, 'ms', figures.p50Ms);
  bench.figure(`${name}: one message to all, p99`, 'ms', figures.p99Ms);
  bench.figure(`${name}: one message to all, last`, 'ms', figures.lastMs);
  if (ours === undefined) return;
  bench.figure(`${name}: memory per connection, to ours`, 'x', figures.bytesPerDevice / ours.bytesPerDevice);
  bench.figure(`${name}: CPU per connect, to ours`, 'x', figures.cpuUsPerConnect / ours.cpuUsPerConnect);
  bench.figure(`${name}: last of all reached, to ours`, 'x', figures.lastMs / ours.lastMs);
}

async function measurePeer(bench: Bench, peer: Peer): Promise<PeerFigures> {
  bench.say(`${peer.name} ...`);
  const server = bench.use(
    await peer.start({ devices: bench.devices, workers: WORKERS, install: !bench.quick }),
  );
  const swarm = bench.use(
    await Swarm.start({
      devices: bench.devices,
      dialect: peer.dialect,
      options: peer.dialectOptions ?? {},
      targets: server.ports.map((port) => ({ host: '127.0.0.1', port })),
      spread: true,
    }),
  );
  const pids = () => processTree(server.pids);
  const idle = await measureIdle(bench, swarm, pids);
  await subscribed(bench, peer, server, idle.held);
  const publisher = await server.publisher();
  const fanout = await measureFanout(bench, swarm, idle.held, async (key) => {
    await publisher.publish(`${key} `.padEnd(MESSAGE_BYTES, '.'));
    return key;
  });
  publisher.close();
  return { name: peer.name, version: server.version, how: peer.how, ...idle, ...fanout };
}

/**
 * Some servers subscribe a connection a moment after it opens, so this asks those that report a count. nchan
 * with several workers may never count all; the message itself shows whether each connection got it.
 */
async function subscribed(bench: Bench, peer: Peer, server: RunningPeer, held: number): Promise<void> {
  if (!server.subscribers) return;
  for (const deadline = performance.now() + 30_000; ; await bench.pause(200)) {
    const counted = await server.subscribers();
    if (counted === held) return;
    if (performance.now() > deadline) {
      bench.say(`${peer.name} counts ${counted} subscribers, and ${held} are connected; goes on`);
      return;
    }
  }
}

async function measurePushpoint(bench: Bench): Promise<PeerFigures> {
  bench.say('Pushpoint ...');
  const { site, swarm } = await prepareFleet(bench, { workers: WORKERS });
  const idle = await measureIdle(bench, swarm, () => site.pids().gateway);
  const fanout = await measureFanout(
    bench,
    swarm,
    idle.held,
    () => forceSync(site, { all: true }),
    async (id) => {
      await whenFinished(site, id);
    },
  );
  return {
    name: 'Pushpoint',
    version: '',
    how: `gateway of ${WORKERS} workers; fan-out through the API, Redis and SQLite, every result recorded`,
    ...idle,
    ...fanout,
  };
}

type Idle = Pick<
  PeerFigures,
  'held' | 'connectsPerSecond' | 'cpuUsPerConnect' | 'bytesPerDevice' | 'cpuAtRest'
>;

async function measureIdle(bench: Bench, swarm: Swarm, pids: () => readonly number[]): Promise<Idle> {
  await bench.pause(bench.quick ? 300 : START_SETTLE_MS);
  const empty = { pss: pssBytes(pids()), cpuMs: cpuMs(pids()) };
  const began = performance.now();
  await swarm.open();
  const held = await swarm.whenReady(bench.devices, 60_000 + bench.devices * 2);
  const tookMs = performance.now() - began;
  // The effects of a connect may come a little later.
  await bench.pause(bench.quick ? 300 : 2_000);
  const connectCpuMs = cpuMs(pids()) - empty.cpuMs;
  const before = cpuMs(pids());
  const beganRest = performance.now();
  await bench.pause(bench.quick ? 300 : REST_MS);
  const restMs = performance.now() - beganRest;
  const { phases } = await swarm.state();
  bench.say(`${held} connected in ${(tookMs / 1_000).toFixed(1)} s`);
  return {
    held: Math.min(held, phases.ready ?? 0),
    connectsPerSecond: (held * 1_000) / tookMs,
    cpuUsPerConnect: (connectCpuMs * 1_000) / held,
    bytesPerDevice: (pssBytes(pids()) - empty.pss) / held,
    cpuAtRest: ((cpuMs(pids()) - before) / restMs) * 100,
  };
}

type Fanout = Pick<PeerFigures, 'p50Ms' | 'p99Ms' | 'lastMs' | 'tooMany'>;

/**
 * `publish` resolves to the key that devices mark the arrival with; `after` waits until the server is done
 * with it.
 */
async function measureFanout(
  bench: Bench,
  swarm: Swarm,
  held: number,
  publish: (key: string) => Promise<string>,
  after: (key: string) => Promise<void> = async () => {},
): Promise<Fanout> {
  const rounds: Fanout[] = [];
  let tooMany = 0;
  for (let round = 1; round <= (bench.quick ? QUICK_ROUNDS : ROUNDS); round += 1) {
    await bench.pause(bench.quick ? 100 : 1_000);
    const began = sharedNow();
    const key = await publish(`order-${round}`);
    const deadline = performance.now() + 120_000;
    while ((await swarm.count('arrived', key)) < held) {
      if (performance.now() > deadline)
        throw new Error(`a message did not reach all of ${held} within 120 s`);
      await bench.pause(100);
    }
    const times = (await swarm.take('arrived')).get(key) ?? new Float64Array();
    tooMany += times.length - held;
    const at = (share: number) => percentile(times, share) - began;
    rounds.push({ p50Ms: at(0.5), p99Ms: at(0.99), lastMs: at(1), tooMany: 0 });
    await after(key);
  }
  rounds.sort((a, b) => a.lastMs - b.lastMs);
  return { ...(rounds[rounds.length >> 1] as Fanout), tooMany };
}
