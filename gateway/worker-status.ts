/**
 * The status of a worker: whether new devices may connect, what it reports to the bus, its supervisor and
 * `/ready`, and when that changed.
 */

import type { Bus, WorkerLoad } from '../bus/bus.ts';
import { busReport } from '../bus/bus-report.ts';
import { clockReport } from '../bus/clock-check.ts';
import type { Certificates } from '../bus/tls/certificates.ts';
import type { UnauthenticatedSockets } from '../bus/unauthenticated-sockets.ts';
import { Dependency, type Loops } from '../health/health.ts';
import type { AdmissionState } from './admission/gatekeeper.ts';
import type { GatewayConfig } from './config.ts';
import type { Draining } from './drain/draining.ts';
import type { Liveness, Readiness } from './health.ts';
import type { LeaseKeeper } from './lease/keeper.ts';
import type { Listener, ListenerState } from './listen/listener.ts';
import type { PushServer } from './listen/push-server.ts';
import { alternateGatewaysHeader } from './lists/alternate-gateways.ts';
import type { GatewayList } from './lists/gateway-list.ts';
import type { Connections } from './sessions/connections.ts';
import type { SettingsFollower } from './settings/follower.ts';

/** How often progress is reported while devices leave, milliseconds. */
const LEAVING_REPORT_MS = 1_000;
/** How often the worker evaluates whether it is ready, milliseconds. */
const READINESS_PERIOD_MS = 1_000;

/** The reported state of a worker. */
export interface WorkerState {
  /** Of its lease; `null` before the first. */
  incarnation: string | null;
  /** Port on which new devices can connect; 0 when there is none. */
  port: number;
  /** Ports it listens on, even if only to refuse or to redirect. */
  ports: number[];
  full: boolean;
  connections: number;
  readiness: Readiness;
  /** All of its loops make progress. */
  live: boolean;
  problem?: string;
}

export interface WorkerStatusParts {
  config: Readonly<GatewayConfig>;
  bus: Bus;
  connections: Connections;
  unauthenticatedSockets: UnauthenticatedSockets;
  gateways: GatewayList;
  server: PushServer;
  listener: Listener;
  draining: Draining;
  follower: SettingsFollower;
  keeper: LeaseKeeper;
  leaseHealth: Dependency;
  directoryHealth: Dependency;
  /** Absent when the worker keeps no canary. */
  canaryHealth?: Dependency;
  certificates: Certificates;
  loops: Loops;
}

export class WorkerStatus {
  readonly #parts: WorkerStatusParts;
  /** The wanted state of the listener while the worker stops. */
  #stopping: ListenerState | null = null;
  readonly #ready = new Dependency();
  readonly #registration = new Dependency();
  readonly #since = new Date();
  #readinessAt = Number.NEGATIVE_INFINITY;
  #told: readonly unknown[] = [];
  #toldAt = 0;

  constructor(parts: WorkerStatusParts) {
    this.#parts = parts;
  }

  get stopping(): boolean {
    return this.#stopping !== null;
  }

  /** The worker stops; until it has, `wanted` is the state of its listener. */
  stop(wanted: ListenerState): void {
    this.#stopping = wanted;
  }

  /** The wanted state of the listener if there were capacity. */
  get wantedListener(): ListenerState {
    if (this.#stopping) return this.#stopping;
    const { draining, connections } = this.#parts;
    switch (draining.why) {
      case 'drain':
        return 'refusing';
      case 'off':
        return connections.count > 0 ? 'refusing' : 'closed';
      default:
        return 'open';
    }
  }

  /** The port on which new devices can connect; 0 when there is none. */
  get openPort(): number {
    const { server, listener } = this.#parts;
    return server.listening && listener.state === 'open' ? server.port : 0;
  }

  /** A drain is reported as long as it is requested, other reasons while devices must leave. */
  get leaving(): WorkerLoad['leaving'] {
    const { why, left } = this.#parts.draining;
    return why === null || (left === 0 && why !== 'drain') ? undefined : { why, left };
  }

  state(): WorkerState {
    const { keeper, server, listener, connections, follower } = this.#parts;
    const { problem } = follower;
    return {
      incarnation: keeper.last?.incarnation ?? null,
      port: this.openPort,
      ports: server.ports,
      full: listener.full,
      connections: connections.count,
      readiness: this.readiness(),
      live: this.#parts.loops.live,
      ...(problem === undefined ? {} : { problem }),
    };
  }

  readiness(): Readiness {
    const { bus, listener, leaseHealth, directoryHealth, canaryHealth, follower } = this.#parts;
    const certificate = this.#parts.certificates.report();
    if (follower.refused === undefined) this.#registration.good();
    else this.#registration.bad(follower.refused);
    const off = this.stopping || this.#parts.draining.all;
    const listening = this.openPort !== 0 || (listener.full && !off);
    const dependencies: Readiness['dependencies'] = {
      bus: busReport(bus.status()),
      lease: leaseHealth.report(),
      directory: directoryHealth.report(),
      registration: this.#registration.report(),
      clock: clockReport(new Map([['this gateway', bus.clock.aheadMs()]]), this.#since),
      ...(canaryHealth && { canary: canaryHealth.report() }),
      ...(certificate && { certificate }),
    };
    const ready = Object.values(dependencies).every(({ ok }) => ok) && listening && !off;
    if (ready) this.#ready.good();
    else this.#ready.bad('');
    return { ready, since: this.#ready.report().since, listening, leaving: off, dependencies };
  }

  liveness(): Liveness {
    const { loops } = this.#parts;
    return { live: loops.live, loops: loops.report(), dependencies: this.readiness().dependencies };
  }

  /** Decides about a new connection. */
  admission(): AdmissionState {
    const { bus, draining, gateways, keeper, listener, unauthenticatedSockets } = this.#parts;
    return {
      leaving: this.stopping || draining.all,
      elsewhere: () => alternateGatewaysHeader(gateways.alternatives()),
      full: listener.full,
      crowded: unauthenticatedSockets.crowded,
      missing: missing(bus, keeper),
    };
  }

  /** Whether there is news to report, returned once: a change, or progress of a drain. */
  takeNews(): boolean {
    const { draining, follower, listener, keeper, server } = this.#parts;
    const { why, left } = draining;
    const at = performance.now();
    if (at - this.#readinessAt >= READINESS_PERIOD_MS) {
      // Evaluated regularly, so that its start time is right.
      this.#readinessAt = at;
      this.readiness();
    }
    const { full, limit } = listener;
    const { applied, problem } = follower;
    const now = [
      this.openPort,
      server.ports.join(),
      full,
      limit,
      keeper.last?.incarnation,
      why,
      applied,
      problem,
    ];
    const again = left > 0 && at - this.#toldAt >= LEAVING_REPORT_MS;
    if (!again && now.every((value, index) => value === this.#told[index])) return false;
    this.#told = now;
    this.#toldAt = at;
    return true;
  }
}

function missing(bus: Bus, keeper: LeaseKeeper): string | null {
  if (!bus.status().available) return 'no bus';
  // The challenge needs it (H-2).
  if (bus.owner.current === null) return 'no administration server has used this Redis yet';
  return keeper.held() ? null : 'no lease';
}
