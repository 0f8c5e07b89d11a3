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
/** Rows of workers that are gone stay for so long. */
const KEPT_MS = 86_400_000;
const TIMEOUT_MS = 60_000;
/** Intervals without a round trip. */
const LATE_AFTER = 4;

type Result = ReportedEnd;

/** What the no-op carries, and the canary says back. */
interface Echo {
  /** The server that sent it, and when by its own monotonic clock, milliseconds. */
  by: string;
  sent: number;
  /** The same by the wall clock, for other servers. */
  at: number;
}

/** The last round trip of a worker, as it is recorded. */
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
 * Sends a no-op to every gateway worker's canary at an interval, the whole way: from the database over
 * presence, outbox, worker and session to the canary, and its result back through the receipts into the
 * database. One server at a time sends; all of them look at what is recorded. That is one row for each
 * worker, and no command or device.
 */
export class Canaries {
  /** Whether any worker answers, as long as there are some. */
  readonly dependency = new Dependency();
  readonly #parts: CanariesParts;
  readonly #intervalMs: number;
  readonly #owner = nanoid();
  /** Since when each worker's canary is expected to answer, by device. */
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

  /** Looks that came to an end. */
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

  /** Records the round trips of these results. A canary of a worker that is not known has none. */
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

  /** Tells the canaries that their results are recorded. */
  async confirm(results: readonly Result[]): Promise<void> {
    await this.#parts.sender.sendFrames(
      results.map(({ device, command }) => ({
        devices: [device],
        frame: encodeGatewayMessage({ t: 'settled', id: command, state: 'succeeded' }),
      })),
    );
  }

  #next(): void {
    this.#timer = setTimeout(() => {
      this.#round = this.#look()
        .catch((error) => this.#parts.log.warn({ err: error }, 'canaries were not looked after'))
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
 * What devices of their own said, apart from what canaries said: nothing of a canary's, whose results nobody
 * authenticates, comes near an execution.
 */
export function withoutCanaries(batch: readonly LedgerReceipt[]): {
  receipts: readonly LedgerReceipt[];
  results: Result[];
} {
  const results: Result[] = [];
  // Nearly always there is none.
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
