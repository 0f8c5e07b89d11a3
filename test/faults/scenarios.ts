/** The matrix: a line for each scenario. */

import type { Shape } from './deployment.ts';
import { type Fault, FULL, QUICK, type Times } from './fault.ts';
import { backupRestored } from './make/backup.ts';
import { killedAtRandom } from './make/chaos.ts';
import { foreignServer, redisFlushedAgain, redisFlushedWhileWritten } from './make/directory.ts';
import { movedAround, portOccupied } from './make/moves.ts';
import { devicesTwice, linkCut, linkOneWay, linkSilent, linkSlow } from './make/network.ts';
import {
  clockOff,
  clockSteps,
  devicesKilled,
  devicesStopped,
  killed,
  stopped,
  supervisorKilled,
  supervisorStopped,
  workerKilled,
  workerStopped,
} from './make/programs.ts';
import {
  again,
  clusterPrimaryKilled,
  diskFull,
  failover,
  failoverToLagging,
  hintsLost,
  postgresDiskFull,
  postgresKilledAgain,
  postgresRestarted,
  postgresStopped,
  redisFlushed,
  redisFull,
  redisRestarted,
  redisStopped,
  subscriptionsKilled,
} from './make/services.ts';
import { hungUp, logDiskFull, startedTooEarly, stoppedWhileStarting } from './make/starts.ts';
import { receiptsWait, whileEnding } from './make/waiting.ts';
import type { Random } from './random.ts';
import type { Scenario } from './scenario.ts';

/**
 * One administration server on SQLite; two on PostgreSQL; everything in one process; Redis as it is made to
 * last.
 */
const ONE: Shape = { admins: 1, store: 'sqlite', bus: 'redis' };
const TWO: Shape = { admins: 2, store: 'postgres', bus: 'redis' };
const SENTINEL: Shape = { admins: 1, store: 'sqlite', bus: 'sentinel' };
const CLUSTER: Shape = { admins: 2, store: 'postgres', bus: 'cluster' };
const WHOLE: Shape = { admins: 1, store: 'sqlite', bus: 'memory' };

const USUAL_MS = 80_000;
const LONG_MS = 2 * USUAL_MS;

interface Line {
  name: string;
  shape: Shape;
  fault: Fault;
  /** Belongs to the short run. */
  quick?: true;
  recoverMs?: number;
}

function lines(times: Times): Line[] {
  return [
    { name: 'worker-killed', shape: ONE, fault: workerKilled('gw1'), quick: true },
    { name: 'worker-stopped', shape: ONE, fault: workerStopped('gw1', times) },
    { name: 'supervisor-killed', shape: ONE, fault: supervisorKilled('gw1', times) },
    { name: 'supervisor-stopped', shape: ONE, fault: supervisorStopped('gw1', times) },
    { name: 'gateway-killed', shape: ONE, fault: killed('gw1', times, true), quick: true },
    { name: 'gateway-stopped', shape: TWO, fault: stopped('gw1', times) },
    { name: 'admin-killed', shape: ONE, fault: killed('admin1', times), quick: true },
    { name: 'admin-stopped', shape: ONE, fault: stopped('admin1', times) },
    { name: 'one-of-two-admins-killed', shape: TWO, fault: killed('admin1', times, true), quick: true },
    { name: 'one-of-two-admins-stopped', shape: TWO, fault: stopped('admin1', times, true) },
    { name: 'everything-in-one-killed', shape: WHOLE, fault: killed('whole', times), quick: true },
    { name: 'everything-in-one-stopped', shape: WHOLE, fault: stopped('whole', times) },
    { name: 'devices-killed', shape: ONE, fault: devicesKilled(times), quick: true },
    { name: 'devices-stopped', shape: TWO, fault: devicesStopped(times) },
    { name: 'devices-twice', shape: ONE, fault: devicesTwice(times) },
    { name: 'redis-restarted', shape: ONE, fault: redisRestarted(times) },
    { name: 'redis-restarted-empty', shape: ONE, fault: redisRestarted(times, { empty: true }), quick: true },
    { name: 'redis-emptied', shape: TWO, fault: redisFlushed() },
    { name: 'redis-stopped', shape: TWO, fault: redisStopped(times) },
    { name: 'redis-full', shape: ONE, fault: redisFull(times) },
    { name: 'sentinel-failover', shape: SENTINEL, fault: failover() },
    { name: 'sentinel-failover-lagging', shape: SENTINEL, fault: failoverToLagging(times) },
    { name: 'cluster-primary-killed', shape: CLUSTER, fault: clusterPrimaryKilled(times) },
    { name: 'cluster-gateway-killed', shape: CLUSTER, fault: killed('gw1', times, true) },
    { name: 'subscriptions-killed', shape: ONE, fault: subscriptionsKilled() },
    { name: 'hints-lost', shape: ONE, fault: hintsLost(times) },
    { name: 'postgres-restarted', shape: TWO, fault: postgresRestarted(times), quick: true },
    { name: 'postgres-stopped', shape: TWO, fault: postgresStopped(times) },
    { name: 'disk-full', shape: ONE, fault: diskFull(times) },
    { name: 'disk-full-whole', shape: WHOLE, fault: diskFull(times) },
    { name: 'gateway-redis-slow', shape: ONE, fault: linkSlow('gw1-redis', times) },
    { name: 'gateway-redis-cut', shape: ONE, fault: linkCut('gw1-redis', times) },
    { name: 'gateway-redis-silent', shape: TWO, fault: linkSilent('gw1-redis', times) },
    { name: 'admin-redis-slow', shape: ONE, fault: linkSlow('admin1-redis', times) },
    { name: 'admin-redis-cut', shape: TWO, fault: linkCut('admin1-redis', times) },
    { name: 'admin-redis-silent', shape: ONE, fault: linkSilent('admin1-redis', times) },
    { name: 'device-links-slow', shape: TWO, fault: linkSlow('devices-gw1', times) },
    { name: 'device-links-cut', shape: ONE, fault: linkCut('devices-gw1', times) },
    { name: 'device-links-silent', shape: TWO, fault: linkSilent('devices-gw1', times) },
    { name: 'device-links-one-way', shape: ONE, fault: linkOneWay('devices-gw1', times), quick: true },
    { name: 'admin-clock-forward', shape: ONE, fault: clockSteps('admin1', 1, times) },
    { name: 'admin-clock-back', shape: TWO, fault: clockSteps('admin1', -1, times) },
    { name: 'gateway-clock-forward', shape: TWO, fault: clockSteps('gw1', 1, times) },
    { name: 'gateway-clock-back', shape: ONE, fault: clockSteps('gw1', -1, times) },
    { name: 'device-clocks-forward', shape: ONE, fault: clockSteps('devices', 1, times) },
    { name: 'device-clocks-back', shape: TWO, fault: clockSteps('devices', -1, times) },
    { name: 'whole-clock-back', shape: WHOLE, fault: clockSteps('whole', -1, times), quick: true },
  ];
}

/**
 * Of issue after issue: each was seen to lose devices, or to end what had ended otherwise. Never one of a
 * drawn pair.
 */
function single(times: Times): Line[] {
  return [
    { name: 'redis-emptied-twice', shape: ONE, fault: redisFlushedAgain(2, 508) },
    { name: 'redis-emptied-in-the-middle', shape: ONE, fault: redisFlushedWhileWritten(3) },
    { name: 'redis-emptied-six-times', shape: TWO, fault: redisFlushedAgain(6, 2_500) },
    { name: 'foreign-server', shape: ONE, fault: foreignServer(times) },
    { name: 'killed-at-random', shape: ONE, fault: killedAtRandom(times), recoverMs: LONG_MS },
    { name: 'killed-at-random-two', shape: TWO, fault: killedAtRandom(times), recoverMs: LONG_MS },
    { name: 'postgres-killed-five-times', shape: TWO, fault: postgresKilledAgain(times) },
    { name: 'redis-killed-three-times', shape: ONE, fault: again(3, redisRestarted(times), 3_000) },
    { name: 'worker-killed-five-times', shape: ONE, fault: again(5, workerKilled('gw1'), 2_000) },
    { name: 'servers-two-hours-apart', shape: TWO, fault: clockOff('admin1', 2, times) },
    { name: 'server-two-hours-back', shape: ONE, fault: clockOff('admin1', -2, times) },
    { name: 'gateway-two-hours-forward', shape: ONE, fault: whileEnding(clockOff('gw1', 2, times)) },
    { name: 'gateway-two-hours-back', shape: TWO, fault: whileEnding(clockOff('gw1', -2, times)) },
    { name: 'receipts-wait-finish-by', shape: ONE, fault: receiptsWait('finish-by') },
    { name: 'receipts-wait-expiry', shape: ONE, fault: receiptsWait('expiry') },
    { name: 'receipts-wait-collapse', shape: ONE, fault: receiptsWait('collapse') },
    { name: 'receipts-wait-skip', shape: ONE, fault: receiptsWait('skip') },
    { name: 'receipts-wait-cancel', shape: ONE, fault: receiptsWait('cancel') },
    { name: 'redis-away-short-limits', shape: TWO, fault: whileEnding(redisStopped(times)) },
    { name: 'admin-stopped-short-limits', shape: ONE, fault: whileEnding(stopped('admin1', times)) },
    { name: 'admin-killed-short-limits', shape: ONE, fault: whileEnding(killed('admin1', times)) },
    { name: 'postgres-away-short-limits', shape: TWO, fault: whileEnding(postgresStopped(times)) },
    { name: 'postgres-disk-full', shape: TWO, fault: postgresDiskFull(times) },
    { name: 'backup-restored', shape: ONE, fault: backupRestored() },
    { name: 'gateways-moved-around', shape: ONE, fault: movedAround(times) },
    { name: 'port-occupied', shape: ONE, fault: portOccupied(times) },
    { name: 'started-too-early', shape: TWO, fault: startedTooEarly(times) },
    { name: 'gateway-stopped-while-starting', shape: ONE, fault: stoppedWhileStarting('gw1') },
    { name: 'admin-stopped-while-starting', shape: TWO, fault: stoppedWhileStarting('admin1') },
    { name: 'log-disk-full', shape: ONE, fault: logDiskFull(times) },
    { name: 'hung-up', shape: TWO, fault: hungUp() },
  ];
}

/** The matrix of the full or of the quick run; with `drawn` scenarios of two faults at once in addition. */
export function scenarios(quick: boolean, drawn: number, random: Random): Scenario[] {
  const times = quick ? QUICK : FULL;
  const made = [...lines(times), ...single(times)].map(
    ({ name, shape, fault, quick: inQuick = false, recoverMs = USUAL_MS }): Scenario => ({
      ...{ name, shape, faults: [fault], recoverMs, quick: inQuick },
    }),
  );
  return [...made, ...Array.from({ length: drawn }, (_, n) => twoAtOnce(n + 1, times, random))];
}

/** Two faults of the matrix that happen to different things of one world. */
function twoAtOnce(number: number, times: Times, random: Random): Scenario {
  const shape = random.one([ONE, TWO]);
  const possible = lines(times).filter((line) => line.shape === shape);
  const first = random.one(possible).fault;
  const second = random.one(possible.filter(({ fault }) => fault.to !== first.to)).fault;
  const faults = [first, second];
  return { name: `two-at-once-${number}`, shape, faults, recoverMs: 2 * USUAL_MS, quick: true };
}
