import type { ServerResponse } from 'node:http';
import type { Logger } from 'pino';
import { Problem } from '../problems.ts';
import type { LedgerEvent } from '../store/records.ts';
import type { Events } from '../store/store.ts';
import type { HttpMetrics } from './metrics.ts';
import { time } from './presenters.ts';
import type { EventSource } from './services.ts';

const PAGE = 50;
const RETRY_MS = 2000;
const STALL_MS = 30_000;

export interface EventFilter {
  /** Beginning of the event type. */
  type?: string | undefined;
  command?: string | undefined;
}

export interface EventStreamsParts {
  events: Events;
  source: EventSource;
  metrics: HttpMetrics;
  log: Logger;
  maxStreams: number;
  /** Bytes that may wait for a reader before its stream pauses. */
  bufferBytes: number;
  pingMs: number;
}

export interface StreamRequest {
  /** Number of the last event seen; `undefined` begins with the next event. */
  after: number | undefined;
  /** If `after` is undefined: begin with the first event of this time or later. */
  since: number | undefined;
  filter: EventFilter;
  /** Asked every few seconds; a stream ends when its reader is no longer allowed to read. */
  mayRead: () => Promise<boolean>;
}

/** All event streams of the process, bounded in number. */
export class EventStreams {
  readonly #parts: EventStreamsParts;
  readonly #open = new Set<EventStream>();
  #stopping = false;

  constructor(parts: EventStreamsParts) {
    this.#parts = parts;
  }

  /**
   * Throws before anything is written; afterwards the stream lasts until its reader leaves or the server ends
   * it.
   */
  async open(response: ServerResponse, request: StreamRequest): Promise<void> {
    if (this.#stopping || this.#open.size >= this.#parts.maxStreams) {
      throw new Problem('unavailable', 'There are too many event streams; try again.', 5);
    }
    const stream = new EventStream(this.#parts, response, request);
    this.#open.add(stream);
    this.#parts.metrics.eventStreams.set(this.#open.size);
    response.once('close', () => {
      this.#open.delete(stream);
      this.#parts.metrics.eventStreams.set(this.#open.size);
    });
    try {
      await stream.begin();
    } catch (error) {
      this.#open.delete(stream);
      this.#parts.metrics.eventStreams.set(this.#open.size);
      throw error;
    }
  }

  stop(): void {
    this.#stopping = true;
    for (const stream of this.#open) stream.end();
  }
}

/**
 * One reader of the events. It first reads pages from the store, each after the reader has taken the previous
 * one, and then follows new events. If the reader falls behind, it reads from the store again, so a slow
 * reader costs one page of memory. A reader that takes nothing for 30 s is cut off and may resume.
 */
class EventStream {
  readonly #parts: EventStreamsParts;
  readonly #response: ServerResponse;
  readonly #request: StreamRequest;
  #seq = 0;
  #shownSeq = -1;
  #ended = false;
  #leave: () => void = () => {};

  constructor(parts: EventStreamsParts, response: ServerResponse, request: StreamRequest) {
    this.#parts = parts;
    this.#response = response;
    this.#request = request;
  }

  async begin(): Promise<void> {
    const { first, last } = await this.#parts.events.bounds();
    const after = this.#request.after ?? (await this.#before(this.#request.since, last));
    const lost = after > last || after < first - 1;
    this.#seq = after;
    this.#response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
      'x-content-type-options': 'nosniff',
    });
    this.#response.write(`retry: ${RETRY_MS}\n`);
    if (lost) this.#reset(first, last);
    else this.#showPosition();
    const timers = [
      setInterval(() => this.#ping(), this.#parts.pingMs),
      setInterval(() => void this.#checkReader(), Math.min(this.#parts.pingMs, 5000)),
    ];
    this.#response.once('close', () => {
      for (const timer of timers) clearInterval(timer);
      this.#ended = true;
      this.#leave();
    });
    this.#run().catch((error) => {
      this.#parts.log.warn({ err: error }, 'event stream ended');
      this.end();
    });
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#leave();
    this.#response.end();
  }

  /** Number of the event before the first one at or after `since`. */
  async #before(since: number | undefined, last: number): Promise<number> {
    const first = since === undefined ? null : await this.#parts.events.firstSince(since);
    return first === null ? last : first - 1;
  }

  async #run(): Promise<void> {
    while (!this.#ended) {
      await this.#catchUp();
      await this.#follow();
    }
  }

  async #catchUp(): Promise<void> {
    while (await this.#drained()) {
      const events = await this.#parts.events.after(this.#seq, PAGE);
      const [next] = events;
      if (!next || this.#ended) return;
      if (next.seq > this.#seq + 1) {
        const { first, last } = await this.#parts.events.bounds();
        if (first > this.#seq + 1) {
          this.#reset(first, last);
          continue;
        }
      }
      for (const event of events) this.#show(event);
    }
  }

  /** Follows until the reader falls behind or leaves. */
  async #follow(): Promise<void> {
    if (this.#ended) return;
    let unsubscribe: () => void = () => {};
    await new Promise<void>((resolve) => {
      let following = true;
      this.#leave = () => {
        following = false;
        resolve();
      };
      unsubscribe = this.#parts.source.subscribe(this.#seq, (events) => {
        for (const event of events) {
          if (!following) return;
          this.#show(event);
          if (this.#response.writableLength > this.#parts.bufferBytes) this.#leave();
        }
      });
    });
    unsubscribe();
  }

  /** Whether the reader is still connected and has taken what was written. */
  async #drained(): Promise<boolean> {
    const response = this.#response;
    if (this.#ended || !response.writableNeedDrain) return !this.#ended;
    await new Promise<void>((resolve) => {
      const stalled = setTimeout(() => {
        this.#parts.metrics.eventStreamsDropped.inc();
        response.destroy();
      }, STALL_MS);
      const done = () => {
        clearTimeout(stalled);
        response.off('drain', done);
        response.off('close', done);
        resolve();
      };
      response.once('drain', done);
      response.once('close', done);
    });
    return !this.#ended && !response.destroyed;
  }

  #show(event: LedgerEvent): void {
    if (this.#ended || event.seq <= this.#seq) return;
    this.#seq = event.seq;
    const data = select(event, this.#request.filter);
    if (data === null) return;
    this.#shownSeq = event.seq;
    const text = JSON.stringify({ event: event.type, at: time(event.at), ...data });
    this.#response.write(`id: ${event.seq}\nevent: ${event.type}\ndata: ${text}\n\n`);
  }

  /** The requested position is no longer stored, or never was: the reader must read its state again. */
  #reset(first: number, last: number): void {
    this.#seq = this.#seq > last ? last : Math.max(0, first - 1);
    this.#shownSeq = this.#seq;
    this.#response.write(
      `id: ${this.#seq}\nevent: reset\ndata: ${JSON.stringify({ event: 'reset', first, last })}\n\n`,
    );
  }

  /**
   * An id without data moves a reader's Last-Event-ID but is not an event, so it need not resume before
   * events that were filtered out.
   */
  #showPosition(): void {
    if (this.#shownSeq === this.#seq) return;
    this.#shownSeq = this.#seq;
    this.#response.write(`id: ${this.#seq}\n\n`);
  }

  #ping(): void {
    if (this.#ended || this.#response.writableNeedDrain) return;
    this.#response.write(': ping\n\n');
    this.#showPosition();
  }

  async #checkReader(): Promise<void> {
    if (!this.#ended && !(await this.#request.mayRead())) this.end();
  }
}

/** The part of an event that passes the filter; `null` if nothing does. */
function select(event: LedgerEvent, { type, command }: EventFilter): object | null {
  if (type !== undefined && !event.type.startsWith(type)) return null;
  const data = (event.data ?? {}) as { id?: string; changes?: [string, string, string][] };
  if (command === undefined) return data;
  if (event.type === 'executions') {
    const changes = (data.changes ?? []).filter(([id]) => id === command);
    return changes.length === 0 ? null : { ...data, changes };
  }
  return event.type.startsWith('command.') && data.id === command ? data : null;
}
