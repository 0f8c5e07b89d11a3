/**
 * All tunnels of a worker. Grants come from the outbox, legs from the push server or a sibling, and events go
 * into receipts. Tunnels have their own budget, in number and in buffered bytes, so that they never take that
 * of commands.
 */
import type { Logger } from 'pino';
import type { Delivery, Receipt, TunnelGrant } from '../../bus/bus.ts';
import { TUNNEL_CLOSE, TUNNEL_END_REASONS, type TunnelRefusal } from '../../protocol/index.ts';
import type { Metrics } from '../metrics.ts';
import { GatewayTunnel, type TunnelReport } from './gateway-tunnel.ts';
import type { Leg, LegInput } from './leg.ts';
import { type JoinMessage, LegSession } from './leg-session.ts';

export interface TunnelRelayParts {
  spool: { add(receipt: Receipt): void };
  metrics: Metrics;
  log: Logger;
  /** Of the lease; `null` before the first. */
  incarnation(): string | null;
  /** Most tunnels, and most bytes buffered for all their legs. */
  limit: number;
  bufferBytes: number;
  pingMs: number;
  holdMs: number;
  countersMs: number;
  /** Every device and tunnel must leave. */
  leaving(): boolean;
  /** The clock that all programs share. */
  now: () => number;
  /** Time between checks of all time limits, milliseconds. */
  lookMs: number;
}

/** T-3: a leg may be faster than its grant. */
const GRANT_WAIT_MS = 2_000;
const MOST_WAITING = 256;
const MOST_UNJOINED = 1_000;
const MOST_LOGGED_A_MINUTE = 60;
/** Time for both ends to move when the gateway leaves. */
const MOVE_MS = 30_000;

export class TunnelRelay {
  readonly #parts: TunnelRelayParts;
  readonly #tunnels = new Map<string, GatewayTunnel>();
  readonly #legs = new Set<LegSession>();
  #unjoined = 0;
  readonly #waiting = new Map<LegSession, { entry: JoinMessage; timer: NodeJS.Timeout }>();
  readonly #refusals = { minute: 0, count: 0 };
  readonly #endedBytes = { up: 0, down: 0 };
  #timer: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(parts: TunnelRelayParts) {
    this.#parts = parts;
  }

  get size(): number {
    return this.#tunnels.size;
  }

  get limit(): number {
    return this.#parts.limit;
  }

  get legs(): number {
    return this.#legs.size;
  }

  bufferedBytes(): number {
    let sum = 0;
    for (const tunnel of this.#tunnels.values()) sum += tunnel.bufferedBytes;
    return sum;
  }

  /** Since the worker started: up from devices, down to them. */
  bytes(): { up: number; down: number } {
    const sum = { ...this.#endedBytes };
    for (const tunnel of this.#tunnels.values()) {
      const { bytesUp, bytesDown } = tunnel.figures;
      sum.up += bytesUp;
      sum.down += bytesDown;
    }
    return sum;
  }

  start(): void {
    this.#timer ??= setInterval(() => this.#look(), this.#parts.lookMs);
  }

  /** Handles the outbox entries about tunnels. */
  deliver({ tunnel, tunnelEnd }: Pick<Delivery, 'tunnel' | 'tunnelEnd'>): void {
    if (tunnel) this.#grant(tunnel);
    if (tunnelEnd) this.#tunnels.get(tunnelEnd.id)?.end(tunnelEnd.reason);
  }

  /** A new lease: the administration server learns under which lease these tunnels continue. */
  reincarnated(): void {
    for (const tunnel of this.#tunnels.values()) this.#report(tunnel, { event: 'counters' });
  }

  /** A leg connected; it has sent nothing yet. */
  enter(leg: Leg): LegInput {
    const session: LegSession = new LegSession(leg, {
      entry: (entry) => this.#entry(session, entry),
      joined: () => this.#unjoined--,
      gone: () => this.#gone(session),
      pingMs: this.#parts.pingMs,
    });
    this.#legs.add(session);
    this.#unjoined++;
    if (this.#closed) leg.close(TUNNEL_CLOSE.leaving, 'the gateway leaves');
    else if (this.#unjoined > MOST_UNJOINED) this.#refuse(session, 'busy');
    return session;
  }

  /**
   * Tells both ends of each tunnel to move; tunnels still here at `deadline` (milliseconds since the Unix
   * epoch) end.
   */
  async leave(deadline: number): Promise<void> {
    this.#moveAll(Math.max(0, deadline - Date.now()));
    while (this.#tunnels.size > 0 && Date.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, Math.min(50, Math.max(1, deadline - Date.now()))));
    }
    this.stop();
  }

  /** Ends every tunnel and closes every leg. Idempotent. */
  stop(): void {
    this.#closed = true;
    if (this.#timer) clearInterval(this.#timer);
    this.#timer = null;
    for (const tunnel of [...this.#tunnels.values()]) tunnel.end('gateway-left');
    for (const session of [...this.#legs]) session.leg.close(TUNNEL_CLOSE.leaving, 'the gateway leaves');
  }

  #grant(grant: TunnelGrant): void {
    const known = this.#tunnels.get(grant.id);
    if (known) {
      known.renew(grant);
      this.#admitWaiting(grant.id);
      return;
    }
    const { holdMs, limit, log } = this.#parts;
    const tunnel = new GatewayTunnel(grant, {
      holdMs,
      now: this.#parts.now,
      report: (which, report) => this.#report(which, report),
      ended: (which, reason) => this.#ended(which, reason),
    });
    this.#tunnels.set(grant.id, tunnel);
    if (this.#closed || this.#parts.leaving()) tunnel.end('gateway-left');
    else if (this.#tunnels.size > limit) tunnel.end('busy');
    else {
      log.debug({ tunnelId: grant.id, deviceId: grant.device, port: grant.port }, 'tunnel granted');
      this.#admitWaiting(grant.id);
    }
  }

  #entry(session: LegSession, entry: JoinMessage): void {
    if (this.#tunnels.has(entry.tunnel)) {
      this.#admit(session, entry);
    } else if (entry.t === 'resume' || this.#waiting.size >= MOST_WAITING) {
      this.#refuse(session, 'unknown-tunnel');
    } else {
      const timer = setTimeout(() => {
        this.#waiting.delete(session);
        this.#refuse(session, 'unknown-tunnel');
      }, GRANT_WAIT_MS);
      this.#waiting.set(session, { entry, timer });
    }
  }

  #admitWaiting(id: string): void {
    for (const [session, { entry, timer }] of [...this.#waiting]) {
      if (entry.tunnel !== id) continue;
      clearTimeout(timer);
      this.#waiting.delete(session);
      this.#admit(session, entry);
    }
  }

  #admit(session: LegSession, entry: JoinMessage): void {
    const tunnel = this.#tunnels.get(entry.tunnel);
    if (!tunnel) {
      this.#refuse(session, 'unknown-tunnel');
      return;
    }
    session.join(tunnel, entry.side);
    const refusal = tunnel.enter(entry, session.leg);
    if (refusal !== null) {
      session.unjoin();
      this.#refuse(session, refusal);
    }
  }

  #refuse(session: LegSession, reason: TunnelRefusal): void {
    this.#parts.metrics.tunnelsRefused.add(reason);
    this.#logRefusal(session, reason);
    session.leg.say({ t: 'refused', reason });
    session.leg.close(reason === 'busy' ? TUNNEL_CLOSE.busy : TUNNEL_CLOSE.refused, reason);
  }

  /** A client may cause any number of refusals, which must not fill the log. */
  #logRefusal(session: LegSession, reason: TunnelRefusal): void {
    const refusals = this.#refusals;
    const minute = Math.floor(performance.now() / 60_000);
    if (refusals.minute !== minute) Object.assign(refusals, { minute, count: 0 });
    if (++refusals.count > MOST_LOGGED_A_MINUTE) return;
    const last =
      refusals.count === MOST_LOGGED_A_MINUTE
        ? { last: 'no more are logged in this minute: see the metric' }
        : {};
    this.#parts.log.info({ reason, address: session.leg.address, ...last }, 'tunnel leg refused');
  }

  #gone(session: LegSession): void {
    this.#legs.delete(session);
    if (!session.wasJoined) this.#unjoined--;
    const waiting = this.#waiting.get(session);
    if (waiting) clearTimeout(waiting.timer);
    this.#waiting.delete(session);
  }

  #report(tunnel: GatewayTunnel, report: TunnelReport): void {
    const { spool, incarnation, metrics, log } = this.#parts;
    const { bytesUp, bytesDown, streams } = tunnel.figures;
    spool.add({
      kind: 'tunnel',
      tunnel: tunnel.id,
      device: tunnel.device,
      ...report,
      bytesUp,
      bytesDown,
      streams,
      incarnation: incarnation() ?? '',
      at: this.#parts.now(),
    });
    metrics.tunnelEvents.add(report.event);
    if (report.event === 'counters') return;
    log.info({ tunnelId: tunnel.id, deviceId: tunnel.device, ...report, bytesUp, bytesDown }, 'tunnel');
  }

  #ended(tunnel: GatewayTunnel, reason: string): void {
    this.#tunnels.delete(tunnel.id);
    const { metrics } = this.#parts;
    const { bytesUp, bytesDown } = tunnel.figures;
    this.#endedBytes.up += bytesUp;
    this.#endedBytes.down += bytesDown;
    metrics.tunnelsEnded.add((TUNNEL_END_REASONS as readonly string[]).includes(reason) ? reason : 'other');
  }

  #look(): void {
    if (this.#parts.leaving()) this.#moveAll(MOVE_MS);
    for (const session of this.#legs) session.look();
    let buffered = 0;
    let most: { tunnel: GatewayTunnel; bytes: number } | null = null;
    for (const tunnel of [...this.#tunnels.values()]) {
      tunnel.look(this.#parts.countersMs);
      const bytes = tunnel.bufferedBytes;
      buffered += bytes;
      if (bytes > (most?.bytes ?? 0)) most = { tunnel, bytes };
    }
    if (buffered > this.#parts.bufferBytes) most?.tunnel.end('busy');
  }

  #moveAll(withinMs: number): void {
    for (const tunnel of this.#tunnels.values()) tunnel.move(withinMs);
  }
}
