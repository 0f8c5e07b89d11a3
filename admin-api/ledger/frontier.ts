/**
 * Tracks up to which moment the ledger has applied everything that gateways received from devices. No clock,
 * cancel or newer command ends an execution as of a later moment: its outcome may be on the way.
 */
import type { Logger } from 'pino';
import { type Bus, BusUnavailable, type Lease } from '../../bus/bus.ts';
import type { Store } from '../store/store.ts';

/**
 * This long after it connected, a device has repeated every result, so nothing that it sent through
 * another gateway is missing.
 */
const ALL_TOLD_MS = 10_000;
/** After a failover or emptying of Redis, workers need at most this long to append missing receipts again. */
const APPENDED_AGAIN_MS = 10_000;
/** How long a worker that ended is remembered, milliseconds. */
const REMEMBERED_MS = 24 * 3_600_000;
/** A worker is behind if its `heardUpTo` is older than this; workers report it every 5 s. */
const BEHIND_MS = 30_000;
/** At most this many looks wait for the ledger to catch up; a further one replaces the newest. */
const LOOKS_MAX = 32;
const PREFIX = 'worker.';
/** Key of the id of the stream of receipts that was seen last. */
const STREAM = 'receipts.stream';

/** A worker whose lease ended without a farewell: it may have received more than it appended. */
interface Ended {
  incarnation: string;
  worker: string;
  host: string;
  endedAt: number;
  /** All its receipts up to this moment are appended. */
  upTo: number;
}

type Known = Pick<Ended, 'worker' | 'host' | 'upTo'>;

/** A worker with a lease. */
interface Live {
  worker: string;
  upTo: number;
  /** Since when every look found it behind; `null` if it is not behind. */
  behindSince: number | null;
}

/** The state of all workers at one moment. */
interface Look {
  takenAt: number;
  /** By incarnation: receipts up to `upTo` were appended at `takenAt`. */
  live: ReadonlyMap<string, Live>;
  all: number;
  ended: readonly Ended[];
}

/** `wait`: not yet. Otherwise `unheard` names the workers that did not answer within the patience. */
export type Verdict = 'wait' | { unheard: readonly string[] };

export interface FrontierParts {
  store: Pick<Store, 'meta'>;
  bus: Bus;
  now: () => number;
  log: Logger;
  /** How long to wait for a worker that ended, or that cannot append what it receives, milliseconds. */
  patienceMs: number;
}

export class Frontier {
  readonly #parts: FrontierParts;
  /** Workers that had a lease at the last look. */
  readonly #known = new Map<string, Known>();
  readonly #ended = new Map<string, Ended>();
  /** Since when workers with a lease have been behind, by incarnation. */
  readonly #behind = new Map<string, number>();
  /** Looks whose receipts are not all applied yet, the oldest first. */
  #looks: { mark: string; look: Look }[] = [];
  /** The newest look whose receipts are all applied. */
  #view: Look | null = null;
  #seeing: Promise<unknown> = Promise.resolve();
  #history = 0;
  /** The stream of receipts that all looks belong to; `null` before the first look. */
  #stream: string | null = null;
  #settledAt = Number.NEGATIVE_INFINITY;
  /** Workers to ask: those named here, and all that have reported less than `#awaitedUpTo`. */
  readonly #awaited = new Set<string>();
  #awaitedUpTo = 0;

  constructor(parts: FrontierParts) {
    this.#parts = parts;
  }

  /** Loads the workers that were known before this server started. */
  async start(): Promise<void> {
    this.#stream = await this.#parts.store.meta.get(STREAM);
    for (const { key, value } of await this.#parts.store.meta.list(PREFIX)) {
      const incarnation = key.slice(PREFIX.length);
      const { worker, host, upTo, endedAt } = JSON.parse(value) as Known & { endedAt?: number };
      if (endedAt === undefined) this.#known.set(incarnation, { worker, host, upTo });
      else this.#ended.set(incarnation, { incarnation, worker, host, upTo, endedAt });
    }
  }

  /** Takes note of the current leases. */
  saw(leases: readonly Lease[]): Promise<void> {
    return this.#inTurn(() => this.#saw(leases));
  }

  /** Takes a look. Rejects with `BusUnavailable` or `StoreUnavailable`; then nothing has changed. */
  async refresh(): Promise<void> {
    const { bus, now } = this.#parts;
    const takenAt = now();
    const leases = await bus.leases.list();
    await this.saw(leases);
    // After the leases, so that everything that they report as appended is below the mark.
    const { appended, open, stream } = await bus.receipts.progress();
    if (!(await this.#settled(stream))) return;
    if (this.#looks.length >= LOOKS_MAX) this.#looks.pop();
    this.#looks.push({ mark: appended, look: this.#look(takenAt, leases) });
    while (this.#looks[0] && (open === null || open > this.#looks[0].mark)) {
      this.#view = (this.#looks.shift() as { look: Look }).look;
    }
  }

  /**
   * Whether an execution may end as of `moment`: everything that gateways had received from its device by
   * then is applied. `session`: the device's current one; `through`: the incarnation that the command was
   * sent through.
   */
  verdict(
    moment: number,
    session: { incarnation: string; since: number } | null,
    through: string | null,
  ): Verdict {
    const view = this.#view;
    if (view === null) return 'wait';
    const { patienceMs } = this.#parts;
    const silent = ({ behindSince }: Live) =>
      behindSince !== null && view.takenAt >= Math.max(moment, behindSince) + patienceMs;
    const own = session && view.live.get(session.incarnation);
    if (own && session.since <= moment - ALL_TOLD_MS) {
      if (own.upTo >= moment) return { unheard: [] };
      if (silent(own)) return { unheard: [own.worker] };
      this.#awaited.add(session.incarnation);
      return 'wait';
    }
    const behind = view.all < moment ? [...view.live.values()].filter(({ upTo }) => upTo < moment) : [];
    if (view.takenAt < moment || !behind.every(silent)) {
      this.#awaitedUpTo = Math.max(this.#awaitedUpTo, moment);
      return 'wait';
    }
    const missing = view.ended.filter(({ upTo }) => upTo < moment);
    if (missing.some(({ endedAt }) => view.takenAt < endedAt + patienceMs)) return 'wait';
    const unheard = missing.filter(
      ({ incarnation, endedAt }) => incarnation === through || moment <= endedAt + patienceMs,
    );
    return { unheard: [...behind, ...unheard].map(({ worker }) => worker) };
  }

  /**
   * Asks the workers that `verdict` waits for to report up to when they have appended; a later look reads it.
   * Rejects with `BusUnavailable`.
   */
  async ask(): Promise<void> {
    for (const [incarnation, { upTo }] of this.#view?.live ?? []) {
      if (upTo < this.#awaitedUpTo) this.#awaited.add(incarnation);
    }
    const asked = [...this.#awaited];
    this.#awaited.clear();
    this.#awaitedUpTo = 0;
    if (asked.length > 0) await this.#parts.bus.leases.askHeard(asked);
  }

  #inTurn(step: () => Promise<void>): Promise<void> {
    const done = this.#seeing.then(step);
    this.#seeing = done.catch(() => undefined);
    return done;
  }

  async #settled(stream: string): Promise<boolean> {
    const { bus, store } = this.#parts;
    const { historyChanges } = bus.counts();
    const emptied = this.#stream !== null && stream !== this.#stream;
    if (historyChanges !== this.#history || emptied) {
      this.#looks = [];
      this.#view = null;
      this.#settledAt = performance.now() + APPENDED_AGAIN_MS;
      await this.#inTurn(() => this.#nothingAppended());
      this.#history = historyChanges;
    }
    if (stream !== this.#stream) {
      await store.meta.set(STREAM, stream);
      this.#stream = stream;
    }
    return performance.now() >= this.#settledAt;
  }

  /** Receipts that workers reported as appended may be lost; workers with a lease append and report again. */
  async #nothingAppended(): Promise<void> {
    for (const known of this.#known.values()) known.upTo = 0;
    for (const ended of this.#ended.values()) {
      if (ended.upTo === 0) continue;
      const { incarnation } = ended;
      const forgotten = { ...ended, upTo: 0 };
      await this.#parts.store.meta.set(PREFIX + incarnation, JSON.stringify(forgotten));
      this.#ended.set(incarnation, forgotten);
    }
  }

  #look(takenAt: number, leases: readonly Lease[]): Look {
    const live = new Map<string, Live>();
    let all = takenAt;
    for (const { incarnation, identity, heardUpTo: upTo } of newestOf(leases)) {
      const behindSince = this.#behind.get(incarnation) ?? null;
      live.set(incarnation, { worker: identity.worker, upTo, behindSince });
      all = Math.min(all, upTo);
    }
    return { takenAt, live, all, ended: [...this.#ended.values()] };
  }

  async #saw(leases: readonly Lease[]): Promise<void> {
    const { now, store } = this.#parts;
    const listed = new Set(leases.map(({ incarnation }) => incarnation));
    for (const { incarnation, identity, heardUpTo } of leases) {
      const { worker, host } = identity;
      if (heardUpTo >= now() - BEHIND_MS) this.#behind.delete(incarnation);
      else if (!this.#behind.has(incarnation)) this.#behind.set(incarnation, now());
      const known = this.#known.get(incarnation);
      if (known) known.upTo = heardUpTo;
      else {
        await store.meta.set(PREFIX + incarnation, JSON.stringify({ worker, host, upTo: 0 }));
        this.#known.set(incarnation, { worker, host, upTo: heardUpTo });
        this.#ended.delete(incarnation);
      }
    }
    const gone = [...this.#known.keys()].filter((incarnation) => !listed.has(incarnation));
    if (gone.length > 0) await this.#gone(gone);
    // A worker in the same place on the same machine is the same process, or started after that one ended.
    const places = new Set(leases.map(({ identity }) => placeOf(identity)));
    const done = [...this.#ended.values()].filter(
      (ended) => places.has(placeOf(ended)) || now() - ended.endedAt > REMEMBERED_MS,
    );
    if (done.length === 0) return;
    await store.meta.delete(done.map(({ incarnation }) => PREFIX + incarnation));
    for (const { incarnation } of done) this.#ended.delete(incarnation);
  }

  async #gone(incarnations: readonly string[]): Promise<void> {
    const { bus, store, now, log } = this.#parts;
    const left = new Set(await bus.leases.left(incarnations));
    for (const incarnation of incarnations) {
      const known = this.#known.get(incarnation);
      if (!known) continue;
      if (left.has(incarnation)) {
        await store.meta.delete([PREFIX + incarnation]);
      } else {
        const ended = { incarnation, ...known, endedAt: now() };
        await store.meta.set(PREFIX + incarnation, JSON.stringify(ended));
        this.#ended.set(incarnation, ended);
        log.info(
          { worker: known.worker, incarnation },
          'a worker ended and may have received more than it appended',
        );
      }
      this.#known.delete(incarnation);
      this.#behind.delete(incarnation);
    }
  }
}

/** The newest lease of each worker: several belong to one process, or the older processes are dead. */
function newestOf(leases: readonly Lease[]): Lease[] {
  const newest = new Map<string, Lease>();
  for (const lease of leases) {
    const place = placeOf(lease.identity);
    const other = newest.get(place);
    if (!other || lease.since >= other.since) newest.set(place, lease);
  }
  return [...newest.values()];
}

function placeOf({ worker, host }: { worker: string; host: string }): string {
  return `${worker} ${host}`;
}

/** Whether the bus cannot be read now: everything known stays valid. */
export function isAway(error: unknown): boolean {
  return error instanceof BusUnavailable;
}
