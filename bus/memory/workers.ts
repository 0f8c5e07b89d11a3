/** Leases and the outboxes that live and end with them. */
import { nanoid } from 'nanoid';
import {
  type Delivery,
  type Lease,
  type Leases,
  OUTBOX_MAX_ENTRIES,
  type Outboxes,
  type OutboxRead,
  type Position,
  type WorkerIdentity,
  type WorkerLoad,
} from '../bus.ts';
import { monotonicMs } from './clock.ts';
import { Hints } from './hints.ts';

interface Worker extends Lease {
  expiresAtMs: number;
  epoch: string;
  /** Offset of the last delivery appended; the first is 1. */
  lastOffset: number;
  /** Deliveries not trimmed yet; the last of them has `lastOffset`. */
  deliveries: Delivery[];
}

export class MemoryWorkers {
  readonly #workers = new Map<string, Worker>();
  readonly #hints = new Hints();
  readonly #asked = new Hints();
  readonly #left = new Set<string>();
  readonly #assertRunning: () => void;
  readonly #now: () => number;

  constructor(assertRunning: () => void, now: () => number) {
    this.#assertRunning = assertRunning;
    this.#now = now;
  }

  isAlive(incarnation: string): boolean {
    return this.#find(incarnation) !== undefined;
  }

  readonly leases: Leases = {
    acquire: async (identity: WorkerIdentity, load: WorkerLoad, ttlMs: number) => {
      this.#assertRunning();
      const incarnation = nanoid();
      this.#workers.set(incarnation, {
        incarnation,
        identity,
        load,
        since: this.#now(),
        heardUpTo: 0,
        expiresAtMs: monotonicMs() + ttlMs,
        epoch: nanoid(),
        lastOffset: 0,
        deliveries: [],
      });
      return incarnation;
    },
    extend: async (incarnation, load, ttlMs) => {
      this.#assertRunning();
      const worker = this.#find(incarnation);
      if (worker === undefined) return 'lost';
      worker.load = load;
      worker.expiresAtMs = monotonicMs() + ttlMs;
      return 'held';
    },
    heard: async (incarnation, upTo) => {
      this.#assertRunning();
      const worker = this.#find(incarnation);
      if (worker !== undefined) worker.heardUpTo = upTo;
    },
    askHeard: async (incarnations) => {
      this.#assertRunning();
      for (const incarnation of incarnations) this.#asked.announce(incarnation);
    },
    onAskHeard: async (incarnation, onAsked) => {
      this.#assertRunning();
      const off = this.#asked.on(incarnation, onAsked);
      return async () => off();
    },
    release: async (incarnation, { allHeard = false } = {}) => {
      this.#assertRunning();
      this.#workers.delete(incarnation);
      // Workers of this process: there are never many.
      if (allHeard) this.#left.add(incarnation);
    },
    left: async (incarnations) => {
      this.#assertRunning();
      return incarnations.filter((incarnation) => this.#left.has(incarnation));
    },
    list: async () => {
      this.#assertRunning();
      const leases: Lease[] = [];
      for (const incarnation of [...this.#workers.keys()]) {
        const worker = this.#find(incarnation);
        if (worker === undefined) continue;
        const { identity, load, since, heardUpTo } = worker;
        leases.push({ incarnation, identity, load, since, heardUpTo });
      }
      return leases;
    },
  };

  readonly outboxes: Outboxes = {
    append: async (incarnation, deliveries) => {
      this.#assertRunning();
      const worker = this.#find(incarnation);
      if (worker === undefined) return 'gone';
      if (worker.deliveries.length + deliveries.length > OUTBOX_MAX_ENTRIES) return 'full';
      for (const delivery of deliveries) worker.deliveries.push(delivery);
      worker.lastOffset += deliveries.length;
      this.#hints.announce(incarnation);
      return 'appended';
    },
    read: async (incarnation, position, limit) => {
      this.#assertRunning();
      return read(this.#find(incarnation), position, limit);
    },
    trim: async (incarnation, position) => {
      this.#assertRunning();
      const worker = this.#find(incarnation);
      if (worker === undefined || worker.epoch !== position.epoch) return;
      const first = worker.lastOffset - worker.deliveries.length + 1;
      const count = Number(position.offset) - first + 1;
      if (count > 0) worker.deliveries.splice(0, count);
    },
    onHint: async (incarnation, onHint) => {
      this.#assertRunning();
      const off = this.#hints.on(incarnation, onHint);
      return async () => off();
    },
  };

  stop(): void {
    this.#hints.clear();
    this.#asked.clear();
    this.#workers.clear();
  }

  #find(incarnation: string): Worker | undefined {
    const worker = this.#workers.get(incarnation);
    if (worker === undefined || worker.expiresAtMs > monotonicMs()) return worker;
    this.#workers.delete(incarnation);
    return undefined;
  }
}

function read(worker: Worker | undefined, position: Position | null, limit: number): OutboxRead {
  // A reader that already knows its outbox is gone (epoch '') does not get `lost` a second time.
  if (worker === undefined) {
    return { position: { epoch: '', offset: '0' }, entries: [], lost: position?.epoch !== '' };
  }
  const lost = position !== null && position.epoch !== worker.epoch;
  const after = position === null || lost ? 0 : Number(position.offset);
  const before = worker.lastOffset - worker.deliveries.length;
  const start = Math.max(after - before, 0);
  const entries = worker.deliveries
    .slice(start, start + limit)
    .map((delivery, index) => ({ offset: String(before + start + index + 1), delivery }));
  const offset = entries.at(-1)?.offset ?? String(after);
  return { position: { epoch: worker.epoch, offset }, entries, lost };
}
