/**
 * How a worker stands: whether newcomers may come, what it shows of itself to the bus, its supervisor and
 * `/ready`, and when any of that is news.
 */

import type { Bus, WorkerLoad } from '../bus/bus.ts';
import { busReport } from '../bus/bus-report.ts';
import { clockReport } from '../bus/clock-check.ts';
import type { Newcomers } from '../bus/newcomers.ts';
import type { Certificates } from '../bus/tls/certificates.ts';
import { Dependency, type Loops } from '../health/health.ts';
import type { DoorState } from './admission/gatekeeper.ts';
import type { GatewayConfig } from './config.ts';
import type { Draining } from './drain/draining.ts';
import type { Liveness, Readiness } from './health.ts';
import type { LeaseKeeper } from './lease/keeper.ts';
import type { Door, Listener } from './listen/listener.ts';
import type { PushServer } from './listen/push-server.ts';
import { alternateGatewaysHeader } from './lists/alternate-gateways.ts';
import type { GatewayList } from './lists/gateway-list.ts';
import type { Connections } from './sessions/connections.ts';
import type { SettingsFollower } from './settings/follower.ts';

/** How often progress is told while devices leave, milliseconds. */
const LEAVING_REPORT_MS = 1_000;
/** How often the worker asks itself whether it is ready, milliseconds. */
const READINESS_PERIOD_MS = 1_000;

/** What a worker shows of itself. */
export interface WorkerState {
  /** Of its lease; `null` before the first. */
  incarnation: string | null;
  /** Port on which newcomers can come in; 0 when there is none. */
  port: number;
  /** Ports it listens on, be it only to refuse or to send on. */
  ports: number[];
  full: boolean;
  connections: number;
  readiness: Readiness;
  /** Everything it does again and again goes round. */
  live: boolean;
  problem?: string;
}

export interface WorkerStatusParts {
  config: Readonly<GatewayConfig>;
  bus: Bus;
  connections: Connections;
  newcomers: Newcomers;
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
  /** What the door is to be while the worker stops. */
  #stopping: Door | null = null;
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

  /** The worker stops; `door` as long as it does. */
  stop(door: Door): void {
    this.#stopping = door;
  }

  /** What the door should be, were there room for everybody. */
  get wantedDoor(): Door {
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

  /** The port on which newcomers can come in; 0 when there is none. */
  get openPort(): number {
    const { server, listener } = this.#parts;
    return server.listening && listener.door === 'open' ? server.port : 0;
  }

  /** A drain is told of as long as it is asked for, the rest while there are devices that have to leave. */
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

  /** What decides over a newcomer. */
  door(): DoorState {
    const { bus, draining, gateways, keeper, listener, newcomers } = this.#parts;
    return {
      leaving: this.stopping || draining.all,
      elsewhere: () => alternateGatewaysHeader(gateways.alternatives()),
      full: listener.full,
      crowded: newcomers.crowded,
      missing: missing(bus, keeper),
    };
  }

  /** Whether there is something others should know of now, said once: a change, or how far the leaving is. */
  takeNews(): boolean {
    const { draining, follower, listener, keeper, server } = this.#parts;
    const { why, left } = draining;
    const at = performance.now();
    if (at - this.#readinessAt >= READINESS_PERIOD_MS) {
      // Asked all the time, so that it knows since when.
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
  // Without it there is nothing to say in the challenge (H-2).
  if (bus.owner.current === null) return 'no administration server has been here yet';
  return keeper.held() ? null : 'no lease';
}
