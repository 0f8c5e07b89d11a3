import { nanoid } from 'nanoid';
import type { Logger } from 'pino';
import type { Bus, Delivery, Lease } from '../../bus/bus.ts';
import { CANARY_COMMAND, canaryOf, isCanary } from '../../bus/canary.ts';
import { Dependency } from '../../health/health.ts';
import { encodeGatewayMessage } from '../../protocol/index.ts';
import type { BestEffortSender } from '../best-effort-sender.ts';
import type { LedgerReceipt, ReportedEnd } from '../ledger-receipt.ts';
import type { LeaseList } from '../live-workers.ts';
import type { AdminMetrics } from '../metrics.ts';
import type { OrderSigner } from '../order-signer.ts';
import { sortableId } from '../sortable-id.ts';
import type { Store } from '../store/store.ts';

const LEASE = 'canaries';
const PREFIX = 'canary ';
/** How long rows of gone workers are kept. */
const KEPT_MS = 86_400_000;
const TIMEOUT_MS = 60_000;
/** Intervals without a round trip after which a canary is missing. */
const LATE_AFTER = 4;

type Result = ReportedEnd;

/** The content of the no-op, which the canary returns. */
interface Echo {
  /** The server that sent it, and the time on that server's monotonic clock, milliseconds. */
  by: string;
  sent: number;
  /** The time on the wall clock, for other servers. */
  at: number;
}

/** The recorded last round trip of a worker. */
interface RoundTrip {
  /** When its outcome was recorded, milliseconds since the Unix epoch. */
  at: number;
  ms: number;
}

export interface CanariesParts {
  store: Store;
  bus: Bus;
  signer: OrderSigner;
  leases: LeaseList;
  sender: BestEffortSender;
  metrics: AdminMetrics;
  log: Logger;
  now: () => number;
}

/**
 * Sends a no-op to every gateway worker's canary at an interval, over the whole path: from the database
 * through presence, outbox, worker and session to the canary, and its result back through the receipts into
 * the database. One server at a time sends; all servers read the results. There is one row for each worker,
 * and no command or device.
 */
export class Canaries {
  /** Whether any worker answers, while there are workers. */
  readonly dependency = new Dependency();
  readonly #parts: CanariesParts;
  readonly #intervalMs: number;
  readonly #owner = nanoid();
  /** Since when each worker's canary is expected to answer, by device id. */
  readonly #expectedSince = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;
  #round: Promise<void> | undefined;
  #rounds = 0;
  #stopping = false;

  /** `intervalMs` 0: nothing is sent, and canaries are not needed. */
  constructor(parts: CanariesParts, intervalMs: number) {
    this.#parts = parts;
    this.#intervalMs = intervalMs;
    this.dependency.good();
  }

  /** Completed rounds. */
  get rounds(): number {
    return this.#rounds;
  }

  start(): void {
    if (this.#intervalMs > 0) this.#next();
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    clearTimeout(this.#timer);
    await this.#round;
  }

  /** Records the round trips of these results. Ignores canaries of unknown workers. */
  async record(tx: Store, results: readonly Result[]): Promise<void> {
    if (results.length === 0) return;
    const { leases, metrics, now } = this.#parts;
    const known = new Set(leases.list().map(({ identity }) => canaryOf(identity.worker)));
    const at = now();
    const rows = new Map<string, string>();
    for (const { device, data } of results) {
      if (!known.has(device) || !isEcho(data)) continue;
      const ms = data.by === this.#owner ? performance.now() - data.sent : Math.max(0, at - data.at);
      metrics.canarySeconds.observe(ms / 1_000);
      rows.set(
        `${PREFIX}${device}`,
        JSON.stringify({ at, ms: Math.round(ms * 10) / 10 } satisfies RoundTrip),
      );
    }
    await tx.meta.setMany([...rows].map(([key, value]) => ({ key, value })));
  }

  /** Confirms to the canaries that their results are recorded. */
  async confirm(results: readonly Result[]): Promise<void> {
    await this.#parts.sender.send(
      results.map(({ device, command }) => ({
        devices: [device],
        frame: encodeGatewayMessage({ t: 'settled', id: command, state: 'succeeded' }),
      })),
    );
  }

  #next(): void {
    this.#timer = setTimeout(() => {
      this.#round = this.#look()
        .catch((error) => this.#parts.log.warn({ err: error }, 'the round of canaries failed'))
        .finally(() => {
          this.#rounds++;
          if (!this.#stopping) this.#next();
        });
    }, this.#intervalMs);
  }

  async #look(): Promise<void> {
    const { store, leases, now } = this.#parts;
    const workers = leases.list().filter(({ identity }) => identity.canaryKey);
    const rows = new Map(
      (await store.meta.list(PREFIX)).map(({ key, value }) => [key.slice(PREFIX.length), value]),
    );
    this.#judge(workers, rows);
    if (!(await store.meta.hold(LEASE, this.#owner, this.#intervalMs * 2, now()))) return;
    await this.#send(workers.map(({ identity }) => canaryOf(identity.worker)));
    await this.#forget(workers, rows);
  }

  #judge(workers: readonly Lease[], rows: ReadonlyMap<string, string>): void {
    const { metrics, now } = this.#parts;
    const at = now();
    const lateMs = this.#intervalMs * LATE_AFTER;
    const devices = new Map(workers.map(({ identity }) => [canaryOf(identity.worker), identity.worker]));
    for (const device of this.#expectedSince.keys()) {
      if (!devices.has(device)) this.#expectedSince.delete(device);
    }
    metrics.canaryRoundTrip.reset();
    metrics.canaryAge.reset();
    let late = 0;
    for (const [device, worker] of devices) {
      const since = this.#expectedSince.get(device) ?? at;
      this.#expectedSince.set(device, since);
      const last = roundTrip(rows.get(device));
      if (last) metrics.canaryRoundTrip.set({ worker }, last.ms / 1_000);
      const ageMs = at - Math.max(since, last?.at ?? 0);
      metrics.canaryAge.set({ worker }, Math.max(0, ageMs) / 1_000);
      if (ageMs > lateMs) late++;
    }
    if (late > 0 && late === devices.size) {
      this.dependency.bad(
        `none of ${devices.size} gateway workers answers: no round trip for ${Math.round(lateMs / 1_000)} s`,
      );
    } else this.dependency.good();
  }

  async #send(devices: readonly string[]): Promise<void> {
    const { bus, signer, now } = this.#parts;
    const holders = await bus.presence.locate(devices);
    const sender = new Map<string, Delivery[]>();
    const at = now();
    for (const [index, device] of devices.entries()) {
      const holder = holders[index];
      if (!holder) continue;
      const frame = signer.frame({
        kind: 'command',
        id: sortableId('n', at),
        type: CANARY_COMMAND,
        args: { by: this.#owner, sent: performance.now(), at } satisfies Echo,
        target: { device },
        issuedAt: at,
        expiresAt: at + TIMEOUT_MS,
        timeoutMs: TIMEOUT_MS,
      });
      sender.set(holder.incarnation, [
        ...(sender.get(holder.incarnation) ?? []),
        { devices: [device], frame },
      ]);
    }
    await Promise.all(
      [...sender].map(([incarnation, deliveries]) => bus.outboxes.append(incarnation, deliveries)),
    );
  }

  async #forget(workers: readonly Lease[], rows: ReadonlyMap<string, string>): Promise<void> {
    const { store, now } = this.#parts;
    const live = new Set(workers.map(({ identity }) => canaryOf(identity.worker)));
    const old = [...rows].filter(
      ([device, value]) => !live.has(device) && now() - (roundTrip(value)?.at ?? 0) > KEPT_MS,
    );
    await store.meta.delete(old.map(([device]) => `${PREFIX}${device}`));
  }
}

/**
 * Separates devices' receipts from those of canaries: a canary's results are not authenticated, so they must
 * never reach an execution.
 */
export function withoutCanaries(batch: readonly LedgerReceipt[]): {
  receipts: readonly LedgerReceipt[];
  results: Result[];
} {
  const results: Result[] = [];
  // There is hardly ever one.
  if (!batch.some(isOfCanary)) return { receipts: batch, results };
  const receipts = batch.filter((receipt) => {
    if (!isOfCanary(receipt)) return true;
    if (receipt.kind === 'result') results.push(receipt);
    return false;
  });
  return { receipts, results };
}

function isOfCanary(receipt: LedgerReceipt): boolean {
  return 'device' in receipt && isCanary(receipt.device);
}

function isEcho(data: unknown): data is Echo {
  const { by, sent, at } = (data ?? {}) as Partial<Echo>;
  return typeof by === 'string' && typeof sent === 'number' && typeof at === 'number';
}

function roundTrip(value: string | undefined): RoundTrip | undefined {
  return value === undefined ? undefined : (JSON.parse(value) as RoundTrip);
}
