import type { Lease } from '../../bus/bus.ts';
import { isFinal } from '../../protocol/index.ts';
import type { Tunnel } from '../store/records.ts';
import type { TunnelDependencies } from '../store/store.ts';
import type { TunnelCloser, TunnelCloserParts, TunnelEnd } from './tunnel-closer.ts';

/** Gateways end tunnels by themselves; this long after they should have, the keeper does it. */
const GRACE_MS = 15_000;
const PRUNE_EVERY_MS = 60_000;
const PRUNE_CHUNK = 1000;

export interface TunnelKeeperParts extends TunnelCloserParts {
  tunnelCloser: TunnelCloser;
  leases: { list(): readonly Lease[] };
}

export interface TunnelKeeperOptions {
  intervalMs: number;
  /** How long ended tunnels stay recorded. */
  keepMs: number;
  /**
   * How long a worker may lack a lease before its tunnels count as ended: a worker whose lease was lost with
   * the bus's data soon has a new one and reports it.
   */
  leaseBackMs: number;
}

/**
 * Ends tunnels that have lost what they depend on: the gateway's worker, the operator's right, the device,
 * the device's consent, or time. It checks every live tunnel once a second, and at once after an event.
 * Running it twice or on several servers is safe.
 */
export class TunnelKeeper {
  readonly #parts: TunnelKeeperParts;
  readonly #options: TunnelKeeperOptions;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;
  #again = false;
  #stopping = false;
  #prunedAt = 0;
  /** Tunnels whose worker has no lease, with the time since when. */
  #suspects = new Map<string, number>();

  constructor(parts: TunnelKeeperParts, options: TunnelKeeperOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  start(): void {
    this.#timer = setInterval(() => this.lookSoon(), this.#options.intervalMs);
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    clearInterval(this.#timer);
    await this.#looking;
  }

  lookSoon(): void {
    if (this.#stopping) return;
    if (this.#looking) {
      this.#again = true;
      return;
    }
    this.#looking = this.#look()
      .catch((error) => this.#parts.log.warn({ err: error }, 'the round of tunnels failed; trying again'))
      .finally(() => {
        this.#looking = undefined;
        if (this.#again) {
          this.#again = false;
          this.lookSoon();
        }
      });
  }

  async #look(): Promise<void> {
    const { store, tunnelCloser, metrics, now } = this.#parts;
    const at = now();
    const live = await store.tunnels.dependencies(at);
    metrics.tunnelsLive.set(live.length);
    const ends = live.map((facts) => endFor(facts, at)).filter((end) => end !== null);
    const ended = new Set(ends.map(({ id }) => id));
    const standing = live.map(({ tunnel }) => tunnel).filter(({ id }) => !ended.has(id));
    await tunnelCloser.end([...ends, ...(await this.#gatewayLost(standing, at))], 'system');
    if (Math.abs(at - this.#prunedAt) < PRUNE_EVERY_MS) return;
    this.#prunedAt = at;
    await store.tunnels.prune(at - this.#options.keepMs, PRUNE_CHUNK);
  }

  /** An incarnation that was recorded earlier and holds no lease now will never hold one again. */
  async #gatewayLost(tunnels: readonly Tunnel[], now: number): Promise<TunnelEnd[]> {
    const known = new Set(this.#parts.leases.list().map((lease) => lease.incarnation));
    const unknown = tunnels.filter(({ at }) => at !== null && !known.has(at.incarnation));
    const leases = unknown.length === 0 ? [] : await this.#parts.bus.leases.list();
    const alive = new Set(leases.map((lease) => lease.incarnation));
    const before = this.#suspects;
    this.#suspects = new Map();
    return unknown.flatMap(({ id, turn, at }) => {
      if (at === null || alive.has(at.incarnation)) return [];
      const key = `${id} ${at.incarnation}`;
      const since = before.get(key) ?? now;
      this.#suspects.set(key, since);
      if (Math.abs(now - since) < this.#options.leaseBackMs) return [];
      const reason = `Gateway ${at.gateway} is gone (worker ${at.worker}).`;
      return [{ id, onTurn: turn, code: 'gateway-lost', reason }];
    });
  }
}

/** Why this tunnel must end now; `null` when it may stay. */
function endFor({ tunnel, command, tokenEnded, device }: TunnelDependencies, now: number): TunnelEnd | null {
  const { id, turn, deviceHere, state, at, expiresAt } = tunnel;
  const end = (code: string, reason: string) => ({ id, code, reason });
  if (device === 'deleted') return end('device-deleted', 'The device was deleted.');
  if (device === 'blocked') return end('device-blocked', 'The device was blocked.');
  if (tokenEnded) return end('operator-revoked', 'The API token it was opened with ended.');
  if (expiresAt + GRACE_MS <= now) return end('life', 'Its time was up.');
  if (command && isFinal(command.state) && command.state !== 'succeeded' && !deviceHere) {
    return { ...end(...refusalOf(command.state, command.reason)), onTurn: turn };
  }
  if (state === 'opening' && at && at.joinBy + GRACE_MS <= now) {
    return { ...end('not-joined', 'One side did not come in time.'), onTurn: turn };
  }
  return null;
}

/** The outcome of the command to the device. */
function refusalOf(state: string, reason: string | null): [code: string, reason: string] {
  const why = reason === null || reason === '' ? 'it gave no reason' : reason;
  if (state === 'rejected') {
    return reason === 'unsupported'
      ? ['refused', 'The device refused it: its software has no tunnels.']
      : ['refused', `The device refused it: ${why}`];
  }
  if (state === 'failed') return ['device-failed', `The device could not join: ${why}`];
  if (reason === 'device offline') return ['device-offline', 'The device is not connected.'];
  return ['device-failed', `The device did not join: ${why}`];
}
