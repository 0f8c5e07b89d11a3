/**
 * `/live`, `/ready` and `/metrics` on a small HTTP server of their own. `live`: the event loop turns. `ready`: newcomers can
 * be admitted; the answer names what is missing, and since when.
 */
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Registry } from 'prom-client';

/** Something the worker needs; remembers since when it is as it is. */
export class Dependency {
  #ok = false;
  #since = Date.now();
  #reason: string | undefined = 'not tried yet';

  get ok(): boolean {
    return this.#ok;
  }

  good(): void {
    this.#become(true, undefined);
  }

  bad(reason: string): void {
    this.#become(false, reason);
  }

  report(): DependencyReport {
    return {
      ok: this.#ok,
      since: new Date(this.#since).toISOString(),
      ...(this.#reason === undefined ? {} : { reason: this.#reason }),
    };
  }

  #become(ok: boolean, reason: string | undefined): void {
    if (ok !== this.#ok) this.#since = Date.now();
    this.#ok = ok;
    this.#reason = reason;
  }
}

export interface DependencyReport {
  ok: boolean;
  /** ISO 8601. */
  since: string;
  reason?: string;
}

export interface Readiness {
  ready: boolean;
  /** Newcomers can connect, or could if it were not full. */
  listening: boolean;
  /** It stops, or its push server is switched off. */
  leaving: boolean;
  dependencies: Record<string, DependencyReport>;
}

export interface HealthSources<T extends { ready: boolean }> {
  /** The answer of `/ready`: 200 when it is `ready`, otherwise 503. */
  readiness(): T;
  /** The answer of `/metrics`. */
  metrics(): Promise<MetricsText>;
}

export interface MetricsText {
  contentType: string;
  text: string;
}

export async function registryMetrics(registry: Registry): Promise<MetricsText> {
  return { contentType: registry.contentType, text: await registry.metrics() };
}

export class HealthServer<T extends { ready: boolean } = Readiness> {
  readonly #sources: HealthSources<T>;
  #server: Server | null = null;

  constructor(sources: HealthSources<T>) {
    this.#sources = sources;
  }

  /** The port it listens on; 0 when it does not. */
  get port(): number {
    return (this.#server?.address() as AddressInfo | null)?.port ?? 0;
  }

  async start(port: number, host: string): Promise<void> {
    const server = createServer((request, response) => {
      this.#answer(request.url ?? '/', response).catch((error: unknown) => {
        if (!response.headersSent) response.statusCode = 500;
        response.end(error instanceof Error ? error.message : String(error));
      });
    });
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, host, () => {
        server.removeListener('error', reject);
        resolve();
      });
    });
  }

  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    if (!server) return;
    server.closeAllConnections();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  }

  async #answer(url: string, response: ServerResponse): Promise<void> {
    switch (url.split('?')[0]) {
      case '/live':
        json(response, 200, { live: true });
        return;
      case '/ready': {
        const readiness = this.#sources.readiness();
        json(response, readiness.ready ? 200 : 503, readiness);
        return;
      }
      case '/metrics': {
        const { contentType, text } = await this.#sources.metrics();
        response.setHeader('Content-Type', contentType);
        response.end(text);
        return;
      }
      default:
        json(response, 404, { error: 'not found: /live, /ready and /metrics are here' });
    }
  }
}

function json(response: ServerResponse, status: number, body: unknown): void {
  response.statusCode = status;
  response.setHeader('Content-Type', 'application/json');
  response.end(JSON.stringify(body));
}
