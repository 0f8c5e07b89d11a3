/**
 * The parts of one gateway worker, each built once and not started yet. Parts call each other in circles (a
 * socket's event reaches the sessions, which close sockets), so callbacks take theirs from `late`, which is
 * complete before the first of them runs.
 */
import os from 'node:os';
import type { WorkerIdentity } from '../bus/bus.ts';
import { Dependency, Loops } from '../health/health.ts';
import { Canary } from './admission/canary.ts';
import { Dismissals } from './admission/dismissals.ts';
import { Interner } from './admission/interner.ts';
import { createSignatureCheck } from './admission/signature-check.ts';
import { UnsignedEntries } from './admission/unsigned-entries.ts';
import { sessionParts, socketParts } from './compose-sockets.ts';
import { shareOf, tickMs } from './config.ts';
import { Draining } from './drain/draining.ts';
import { LeaseKeeper } from './lease/keeper.ts';
import { LoadMeter } from './lease/load.ts';
import { LeaseWork } from './lease/work.ts';
import { CarriedKeys } from './lists/carried-keys.ts';
import { CarriedLists } from './lists/carried-lists.ts';
import { GatewayList } from './lists/gateway-list.ts';
import { Metrics } from './metrics.ts';
import { HeardReports } from './receipts/heard-reports.ts';
import { SettingsFollower } from './settings/follower.ts';
import { SettingsWatcher } from './settings/watcher.ts';
import { Ticker } from './ticker.ts';
import type {
  Core,
  Given,
  LeaseParts,
  SessionParts,
  SettingsParts,
  SocketParts,
  WorkerParts,
} from './worker-parts.ts';
import { WorkerStatus } from './worker-status.ts';

/** Each loop completes a round every few seconds, even when it fails. */
const STUCK_AFTER_SECONDS = 60;

/** Throws when the TLS files are not usable. */
export function composeWorker(given: Given): WorkerParts {
  const late = {} as WorkerParts;
  const core = coreParts(given, late);
  const sockets = { ...core, ...socketParts(core, late) };
  const sessions = { ...sockets, ...sessionParts(sockets, late) };
  const settings = { ...sessions, ...settingsParts(sessions, late) };
  const leased = { ...settings, ...leaseParts(settings, late) };
  const canary = canaryOf(leased);
  return Object.assign(late, leased, { canary, status: statusOf(leased) });
}

function coreParts({ log, ...given }: Given, late: WorkerParts): Core {
  const { config, bus } = given;
  const worker = `${config.name}/${config.workerNumber}`;
  const metrics = new Metrics();
  const workerLog = log.child({ worker });
  const isSigned = createSignatureCheck();
  const carriedKeys = new CarriedKeys(given.fingerprint, (key, bytes, sig) => isSigned(sig, bytes, key));
  const ticker: Ticker = new Ticker(tickMs(config), () => late.heartbeatTimeouts.tick(ticker.now));
  return {
    ...given,
    worker,
    gateway: config.name,
    log: workerLog,
    now: bus.clock.now.bind(bus.clock),
    metrics,
    unsignedEntries: new UnsignedEntries(metrics, workerLog),
    dismissals: new Dismissals(),
    ticker,
    loops: new Loops(STUCK_AFTER_SECONDS),
    interner: new Interner(),
    gateways: new GatewayList(config.name, config.initial),
    isSigned,
    carriedKeys,
    carriedLists: new CarriedLists({
      gateway: config.name,
      directory: bus.directory,
      isOurs: (bytes, sig) =>
        given.fingerprint === null || carriedKeys.signing.some((key) => isSigned(sig, bytes, key)),
    }),
    leaseHealth: new Dependency(),
    directoryHealth: new Dependency(),
    canaryHealth: new Dependency(),
    incarnation: () => late.keeper.last?.incarnation ?? null,
  };
}

/** Operators' settings, and what follows from them. */
function settingsParts(parts: Core & SocketParts & SessionParts, late: WorkerParts): SettingsParts {
  const { config, bus } = parts;
  const draining = new Draining({
    ...parts,
    mustLeavePort: (port) => late.follower.mustLeavePort(port),
    perSecond: shareOf(config.drainPerSecond, config) || 1,
  });
  const follower = new SettingsFollower({ ...parts, draining });
  const watcher = new SettingsWatcher({
    directory: bus.directory,
    pollMs: config.settingsPollMs,
    health: parts.directoryHealth,
    onGateways: (gateways, mark) => follower.gatewaysRead(gateways, mark),
    log: parts.log,
  });
  return { draining, follower, watcher };
}

type Leasing = Core & SocketParts & SessionParts & SettingsParts;

/** What the worker reports to the bus, and what it gets from it. */
function leaseParts(parts: Leasing, late: WorkerParts): LeaseParts {
  const { config, bus, spool, connections, admission, listener, follower, tunnels } = parts;
  const load = new LoadMeter({
    connections: () => connections.count,
    takeAdmissions: () => admission.takeCount(),
    bufferedBytes: () => connections.bufferedBytes(),
    limit: () => listener.limit,
    port: () => late.status.openPort || undefined,
    revision: () => follower.applied,
    keys: () => follower.keysApplied,
    roundTripMs: () => parts.roundTrips.percentiles(),
    leaving: () => late.status.leaving,
    problem: () => follower.problem,
    tunnels: () => tunnels.load,
    warnings: () => [
      ...parts.certificates.warnings(),
      ...parts.unsignedEntries.warnings(),
      ...parts.carriedLists.warnings,
      ...(bus.status().refused ?? []),
    ],
  });
  const leaseWork = new LeaseWork({ ...parts, outboxPollMs: config.outboxPollMs, tunnels: tunnels.relay });
  const keeper: LeaseKeeper = new LeaseKeeper({
    epoch: () => bus.owner.current?.epoch ?? 0,
    leases: bus.leases,
    identity: () => identityOf(late),
    load: () => load.read(),
    ttlMs: config.leaseTtlMs,
    health: parts.leaseHealth,
    events: {
      acquired: (lease) => {
        leaseWork.acquired(lease, keeper);
        heard.renewed();
      },
      lost: (lease) => leaseWork.lost(lease),
    },
    log: parts.log,
  });
  const heard = new HeardReports({ ...parts, heardUpTo: (now) => spool.heardUpTo(now) });
  return { leaseWork, keeper, heard };
}

function identityOf({ worker, gateway, version, gateways, canary }: WorkerParts): WorkerIdentity {
  return {
    worker,
    gateway,
    host: os.hostname(),
    pid: process.pid,
    version,
    initial: gateways.initial,
    ...(canary && { canaryKey: canary.publicKey }),
  };
}

function canaryOf(parts: Leasing): Canary | null {
  const { config, bus, challenger, messages, connections } = parts;
  if (!config.canary) return null;
  return new Canary({
    ...parts,
    directory: bus.directory,
    heartbeatMs: config.heartbeatIntervalMs,
    open: (socket) => challenger.open(socket, 0, null),
    receive: (connection, bytes) => messages.receive(connection, bytes, true),
    close: (connection, code, reason) => connections.close(connection, code, reason),
    health: parts.canaryHealth,
  });
}

function statusOf({ canaryHealth, ...parts }: Leasing & LeaseParts): WorkerStatus {
  const { config } = parts;
  return new WorkerStatus({
    ...parts,
    ...(config.canary && { canaryHealth }),
  });
}
