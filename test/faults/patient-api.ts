/**
 * The HTTP API as a program uses it that does not give up: while a server is away it asks again, or another
 * one. A request that makes something carries an idempotency key, so that asking twice makes one.
 */
import { setTimeout as pause } from 'node:timers/promises';
import {
  ApiClient,
  ApiRefused,
  ApiUnavailable,
  type PageOf,
  type Query,
  type RequestInput,
} from '../../cli/api/api-client.ts';
import type { Requests } from '../fleet/ledger.ts';

const ATTEMPT_TIMEOUT_MS = 8_000;
const PATIENCE_MS = 240_000;
const PAUSE_MS = 250;
/** A server that failed is asked last for so long. */
const SHUNNED_MS = 3_000;

export class PatientApi implements Requests {
  /** Answers that no outage excuses. */
  readonly complaints: string[] = [];
  readonly #clients: { client: ApiClient; failedAt: number }[];
  #turn = 0;

  constructor(servers: readonly string[], token: string) {
    this.#clients = servers.map((server) => ({
      client: new ApiClient({ server, token, timeoutMs: ATTEMPT_TIMEOUT_MS }),
      failedAt: Number.NEGATIVE_INFINITY,
    }));
  }

  get<T>(path: string, query: Query = {}): Promise<T> {
    return this.request('GET', path, { query });
  }

  list<T>(path: string, query: Query, limit: number): Promise<PageOf<T>> {
    return this.#untilAnswered((client) => client.list<T>(path, query, limit), `GET ${path}`);
  }

  request<T>(method: string, path: string, input: RequestInput = {}): Promise<T> {
    return this.#untilAnswered((client) => client.request<T>(method, path, input), `${method} ${path}`);
  }

  async #untilAnswered<T>(ask: (client: ApiClient) => Promise<T>, what: string): Promise<T> {
    const deadline = performance.now() + PATIENCE_MS;
    for (;;) {
      const server = this.#next();
      try {
        return await ask(server.client);
      } catch (error) {
        server.failedAt = performance.now();
        if (error instanceof ApiRefused && error.status !== 429) throw error;
        this.#judge(error, what);
        if (performance.now() > deadline) throw error;
        await pause(PAUSE_MS);
      }
    }
  }

  #next(): { client: ApiClient; failedAt: number } {
    const now = performance.now();
    const turn = this.#turn++;
    const inTurn = this.#clients.map((_, n) => this.#clients[(turn + n) % this.#clients.length]);
    const server = inTurn.find((each) => each && now - each.failedAt > SHUNNED_MS) ?? inTurn[0];
    if (!server) throw new Error('no server');
    return server;
  }

  #judge(error: unknown, what: string): void {
    const { message } = error as Error;
    if (!(error instanceof ApiUnavailable)) this.complaints.push(`${what}: ${message}`);
    else if (message.includes('cannot serve now') && !message.includes('Try again in')) {
      this.complaints.push(`${what}: 503 without Retry-After: ${message}`);
    }
  }
}
