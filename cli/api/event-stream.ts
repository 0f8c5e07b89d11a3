/**
 * Reads server-sent events (WHATWG HTML, section "Server-sent events") and reconnects when a connection
 * breaks.
 */

import { CliError, EXIT } from '../exit-codes.ts';
import { type ApiClient, ApiRefused, type Query } from './api-client.ts';

export interface StreamEvent {
  id: string;
  event: string;
  data: string;
}

/** Longest single event, characters: a longer one is a fault of the server and must not fill memory. */
const MAX_EVENT_CHARS = 16 * 1024 * 1024;

/**
 * Parses a stream of bytes. Yields `'alive'` for comments, so that a reader knows that the connection is
 * alive. Throws if one event grows beyond `MAX_EVENT_CHARS`.
 */
export async function* parseEvents(
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<StreamEvent | 'alive', void, void> {
  const decoder = new TextDecoder();
  let rest = '';
  let id = '';
  let event = '';
  let data: string[] = [];
  for await (const chunk of chunks) {
    rest += decoder.decode(chunk, { stream: true });
    if (rest.length > MAX_EVENT_CHARS) throw new Error('an event longer than this program reads');
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line === '') {
        if (data.length > 0) yield { id, event: event || 'message', data: data.join('\n') };
        event = '';
        data = [];
        continue;
      }
      const colon = line.indexOf(':');
      if (colon === 0) {
        yield 'alive';
        continue;
      }
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
      if (field === 'id') id = value;
      else if (field === 'event') event = value;
      else if (field === 'data') data.push(value);
    }
  }
}

export interface EventStreamOptions {
  api: ApiClient;
  query: Query;
  signal: AbortSignal;
  onEvent: (event: StreamEvent) => void;
  /** `true`: events arrive from now on; `false`: the connection broke and is being reopened. */
  onConnected?: (connected: boolean, why?: string) => void;
  /** Start after this event. */
  lastEventId?: string;
  /** Silence after which a connection counts as dead, milliseconds; the server pings every 15 s. */
  silenceMs?: number;
  minRetryMs?: number;
  maxRetryMs?: number;
}

/**
 * Passes on events until `signal` aborts, then resolves. It reopens a broken connection with Last-Event-ID
 * after a full-jitter back-off, so nothing is skipped. Rejects with `ApiRefused` if the server refuses for
 * good (4xx other than 429).
 */
export async function readEventStream(options: EventStreamOptions): Promise<void> {
  const { api, signal, silenceMs = 45_000, minRetryMs = 250, maxRetryMs = 5_000 } = options;
  let lastEventId = options.lastEventId;
  let retryMs = minRetryMs;
  while (!signal.aborted) {
    const connection = new AbortController();
    // A listener instead of AbortSignal.any, whose signal may be garbage-collected before it fires.
    const end = (): void => connection.abort();
    signal.addEventListener('abort', end);
    let silence = setTimeout(() => connection.abort(new Error('silence')), silenceMs);
    let why = 'the server ended the stream';
    try {
      const chunks = await api.open(
        '/v1/events',
        { query: options.query, headers: lastEventId === undefined ? {} : { 'last-event-id': lastEventId } },
        connection.signal,
      );
      options.onConnected?.(true);
      for await (const event of parseEvents(chunks)) {
        clearTimeout(silence);
        silence = setTimeout(() => connection.abort(new Error('silence')), silenceMs);
        // The back-off starts over only if the connection delivered something.
        retryMs = minRetryMs;
        if (event === 'alive') continue;
        if (event.id !== '') lastEventId = event.id;
        options.onEvent(event);
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ApiRefused && error.status !== 429) throw error;
      if (error instanceof CliError && error.exitCode === EXIT.interrupted) throw error;
      why = (error as Error).message;
    } finally {
      clearTimeout(silence);
      signal.removeEventListener('abort', end);
      connection.abort();
    }
    if (signal.aborted) return;
    options.onConnected?.(false, why);
    await pause(Math.random() * retryMs, signal);
    retryMs = Math.min(maxRetryMs, retryMs * 2);
  }
}

/** Resolves after `ms`, or at once when `signal` aborts. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
      return;
    }
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
  });
}
