/**
 * A program that starts before its database or Redis waits for it. It logs that once, then at growing
 * intervals. Meanwhile its port answers `/live` with 200 (a restart would not help) and everything else with
 * 503.
 */
import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import type { Logger } from 'pino';
import { MIN_TLS, readTlsFiles } from '../../bus/tls/certificate.ts';
import { Dependency } from '../../health/health.ts';
import type { Part } from './lifecycle.ts';

export interface WaitingPlace {
  host: string;
  /** `null`: nowhere. */
  port: number | null;
  tls?: { certFile: string; keyFile: string } | null;
}

const RETRY_AFTER_S = 5;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 10_000;
/** Interval until the log repeats it; it doubles each time, up to an hour. */
const FIRST_REMINDER_MS = 10_000;
const LONGEST_REMINDER_MS = 3_600_000;

export class WaitingRoom {
  readonly #place: WaitingPlace;
  readonly #log: Logger;
  readonly #dependencies = new Map<string, Dependency>();
  readonly #waits = new Map<string, { since: number; reminder: NodeJS.Timeout; reason: string }>();
  readonly #life = new AbortController();
  /** All connections: a TLS server's `closeAllConnections` misses those whose handshake is not complete. */
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;

  constructor(place: WaitingPlace, log: Logger) {
    this.#place = place;
    this.#log = log;
  }

  /** The first part: open until the part made by `leave` starts, or the program stops. */
  enter(): Part {
    return { name: 'waiting room', start: async () => {}, stop: () => this.#close() };
  }

  /** Comes before the part that uses the port itself. */
  leave(): Part {
    return { name: 'end of waiting', start: () => this.#close(), stop: async () => {} };
  }

  /** Starts a part again until that succeeds; an error with any other name ends the program. */
  untilThere(part: Part, dependency: string, names: readonly string[]): Part {
    return {
      name: part.name,
      start: async () => {
        for (let ms = FIRST_PAUSE_MS; ; ms = Math.min(ms * 2, LONGEST_PAUSE_MS)) {
          try {
            await part.start();
            this.there(dependency);
            return;
          } catch (error) {
            if (!names.includes((error as Error).name) || this.#life.signal.aborted) throw error;
            await this.waitsFor(dependency, (error as Error).message);
          }
          await pause(ms, undefined, { signal: this.#life.signal });
        }
      },
      stop: async () => {
        this.#life.abort();
        await part.stop();
      },
    };
  }

  /** Listens, if it does not already. Rejects if it cannot. */
  async waitsFor(dependency: string, reason: string): Promise<void> {
    const known = this.#dependencies.get(dependency) ?? new Dependency();
    this.#dependencies.set(dependency, known);
    known.bad(reason);
    const wait = this.#waits.get(dependency);
    if (wait !== undefined) {
      wait.reason = reason;
      return;
    }
    this.#log.warn({ dependency, reason }, `waiting for the ${dependency}`);
    this.#remind(dependency, reason, performance.now(), FIRST_REMINDER_MS);
    await this.#listen();
  }

  there(dependency: string): void {
    const wait = this.#waits.get(dependency);
    this.#dependencies.get(dependency)?.good();
    if (wait === undefined) return;
    clearTimeout(wait.reminder);
    this.#waits.delete(dependency);
    const seconds = Math.round((performance.now() - wait.since) / 1_000);
    this.#log.info({ dependency, seconds }, `the ${dependency} is available`);
  }

  #remind(dependency: string, reason: string, since: number, afterMs: number): void {
    const reminder = setTimeout(() => {
      const now = this.#waits.get(dependency)?.reason ?? reason;
      const seconds = Math.round((performance.now() - since) / 1_000);
      this.#log.warn({ dependency, reason: now, seconds }, `still waiting for the ${dependency}`);
      this.#remind(dependency, now, since, Math.min(afterMs * 2, LONGEST_REMINDER_MS));
    }, afterMs);
    this.#waits.set(dependency, { since, reminder, reason });
  }

  async #listen(): Promise<void> {
    const { host, port, tls } = this.#place;
    if (this.#server !== undefined || port === null) return;
    const answer: RequestListener = (request, response) => {
      const [status, type, body] = this.#answer(request.url?.split('?')[0] ?? '/');
      if (status === 503) response.setHeader('retry-after', RETRY_AFTER_S);
      response.writeHead(status, { 'content-type': type });
      response.end(JSON.stringify(body));
    };
    const server = tls ? createTlsServer({ ...readTlsFiles(tls), ...MIN_TLS }, answer) : createServer(answer);
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, host, () => resolve());
    });
  }

  #answer(path: string): [number, string, object] {
    const dependencies = Object.fromEntries([...this.#dependencies].map(([name, it]) => [name, it.report()]));
    if (path === '/live') return [200, 'application/json', { live: true, loops: {}, dependencies }];
    const since = Object.values(dependencies).map((report) => report.since);
    const ready = { ready: false, since: since.sort()[0], dependencies };
    if (path === '/ready') return [503, 'application/json', ready];
    const waits = [...this.#waits].map(([name, { reason }]) => `the ${name}: ${reason}`);
    const detail = `The server waits for ${waits.join('; and for ')}.`;
    const problem = { type: 'urn:pushpoint:problem:unavailable', title: 'Service Unavailable', status: 503 };
    return [503, 'application/problem+json', { ...problem, detail, code: 'unavailable' }];
  }

  async #close(): Promise<void> {
    this.#life.abort();
    for (const { reminder } of this.#waits.values()) clearTimeout(reminder);
    this.#waits.clear();
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}
