/**
 * Serves `/live`, `/ready` and `/metrics` on a separate small HTTP server. `ready` fails as soon as new
 * devices cannot be admitted. `live` fails slowly, and only when a restart helps: a missing Redis is no
 * reason, because a restart would drop every device. Both name what is missing, and since when.
 */
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Registry } from 'prom-client';
import type { DependencyReport } from '../health/health.ts';

export interface Readiness {
  ready: boolean;
  /** When this last changed; ISO 8601. */
  since: string;
  /** New devices can connect, or could if it were not full. */
  listening: boolean;
  /** It stops, or its push server is switched off. */
  leaving: boolean;
  dependencies: Record<string, DependencyReport>;
}

/** What `/live` answers. */
export interface Liveness {
  live: boolean;
  /** The loops of the program; `ok` is false for a stalled one. */
  loops: Record<string, DependencyReport>;
  /** As in `/ready`, for people: they do not affect `live`. */
  dependencies: Record<string, DependencyReport>;
}

export interface HealthSources<T extends { ready: boolean }> {
  /** The answer of `/ready`: 200 when it is `ready`, otherwise 503. */
  readiness(): T;
  /** The answer of `/live`: 200 when it is `live`, otherwise 503. */
  liveness(): { live: boolean };
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
      case '/live': {
        const liveness = this.#sources.liveness();
        json(response, liveness.live ? 200 : 503, liveness);
        return;
      }
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
