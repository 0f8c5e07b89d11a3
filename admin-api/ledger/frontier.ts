/**
 * Up to when everything that gateways had from devices is applied. No clock and nobody's wish ends an
 * execution before that moment has come: its end may be on the way.
 */
import type { Logger } from 'pino';
import { type Bus, BusUnavailable, type Lease } from '../../bus/bus.ts';
import type { Store } from '../store/store.ts';

/**
 * A device has told all it knows so long after it connected: what it said elsewhere before has come a
 * second time.
 */
const ALL_TOLD_MS = 10_000;
/**
 * After Redis went on with another history of its data, or was emptied, workers append again what may be
 * missing.
 */
const APPENDED_AGAIN_MS = 10_000;
/** How long a worker that ended is remembered, milliseconds. */
const REMEMBERED_MS = 24 * 3_600_000;
/** A worker that has not reported for this long up to when it appended is behind; it reports every 5 s. */
const BEHIND_MS = 30_000;
/** Looks that wait until the ledger has caught up; of more, the newest takes the place of the one before. */
const LOOKS_MAX = 32;
const PREFIX = 'worker.';
/** Under which it is kept which stream of receipts was seen last. */
const STREAM = 'receipts.stream';

/** A worker whose lease ended without its saying that nothing is left. */
interface Ended {
  incarnation: string;
  worker: string;
  host: string;
  endedAt: number;
  /** Its receipts up to then are appended. */
  upTo: number;
}

type Known = Pick<Ended, 'worker' | 'host' | 'upTo'>;

/** A worker with a lease. */
interface Live {
  worker: string;
  upTo: number;
  /** Since when it has been behind whenever it was looked at; `null` where it is not. */
  behindSince: number | null;
}

/** What was read at one moment. */
interface Look {
  takenAt: number;
  /** By incarnation: receipts up to `upTo` were appended when the look was taken. */
  live: ReadonlyMap<string, Live>;
  all: number;
  ended: readonly Ended[];
}

/** `wait`: not yet. Otherwise the names of workers that were waited for in vain. */
export type Verdict = 'wait' | { unheard: readonly string[] };

export interface FrontierParts {
  store: Pick<Store, 'meta'>;
  bus: Bus;
  now: () => number;
  log: Logger;
  /** How long a worker that ended, or cannot append what it hears, is waited for, milliseconds. */
  patienceMs: number;
}

export class Frontier {
  readonly #parts: FrontierParts;
  /** Workers that had a lease when last looked at. */
  readonly #known = new Map<string, Known>();
  readonly #ended = new Map<string, Ended>();
  /** Since when workers with a lease have been behind, by incarnation. */
  readonly #behind = new Map<string, number>();
  /** Taken, and not yet known to be applied; the oldest first. */
  #looks: { mark: string; look: Look }[] = [];
  /** All receipts it speaks of are applied. */
  #view: Look | null = null;
  #seeing: Promise<unknown> = Promise.resolve();
  #history = 0;
  /** The stream of receipts that everything here speaks of; `null` before the first. */
  #stream: string | null = null;
  #settledAt = Number.NEGATIVE_INFINITY;
  /** Workers that something waited for since they were asked last: named, and all that said less. */
  readonly #awaited = new Set<string>();
  #awaitedUpTo = 0;

  constructor(parts: FrontierParts) {
    this.#parts = parts;
  }

  /** Workers that were there before this server was. */
  async start(): Promise<void> {
    this.#stream = await this.#parts.store.meta.get(STREAM);
    for (const { key, value } of await this.#parts.store.meta.list(PREFIX)) {
      const incarnation = key.slice(PREFIX.length);
      const { worker, host, upTo, endedAt } = JSON.parse(value) as Known & { endedAt?: number };
      if (endedAt === undefined) this.#known.set(incarnation, { worker, host, upTo });
      else this.#ended.set(incarnation, { incarnation, worker, host, upTo, endedAt });
    }
  }

  /** These are the workers with a lease now. */
  saw(leases: readonly Lease[]): Promise<void> {
    return this.#inTurn(() => this.#saw(leases));
  }

  /** Looks again. Rejects with `BusUnavailable` or `StoreUnavailable`; then nothing has changed. */
  async refresh(): Promise<void> {
    const { bus, now } = this.#parts;
    const takenAt = now();
    const leases = await bus.leases.list();
    await this.saw(leases);
    // After the leases: what they say is appended is below the mark.
    const { appended, open, stream } = await bus.receipts.progress();
    if (!(await this.#settled(stream))) return;
    if (this.#looks.length >= LOOKS_MAX) this.#looks.pop();
    this.#looks.push({ mark: appended, look: this.#look(takenAt, leases) });
    while (this.#looks[0] && (open === null || open > this.#looks[0].mark)) {
      this.#view = (this.#looks.shift() as { look: Look }).look;
    }
  }

  /**
   * Whether something may be ended as of `moment`: all that gateways had from this device by then is applied.
   * `session`: the one the device has; `through`: the incarnation that the command was sent through.
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
   * Asks the workers that `verdict` waits for up to when they have heard; the next look finds it. Rejects
   * with `BusUnavailable`.
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

  /** What workers said they appended may be lost; those with a lease say it again. */
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
    // Whoever has the place of another on the same machine is that one, or was started after its end.
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
          'a worker ended and may have heard more than it said',
        );
      }
      this.#known.delete(incarnation);
      this.#behind.delete(incarnation);
    }
  }
}

/** Of several leases of one worker the newest: it is the same process, or the others are dead. */
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

/** Nothing can be looked at now; what is known stands. */
export function isAway(error: unknown): boolean {
  return error instanceof BusUnavailable;
}
