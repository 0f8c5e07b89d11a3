/** The HTTP API as the operators' commands see it: JSON in, JSON out, and errors that say what to do. */
import { setMaxListeners } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { proxyAgent, proxyFetch } from '../../device/platform/proxy-node.ts';
import { CliError, EXIT } from '../exit-codes.ts';

/** The problem document (RFC 9457), as far as the server sent one. */
export interface ProblemDocument {
  title?: string;
  status?: number;
  detail?: string;
  code?: string;
  errors?: { path: string; message: string }[];
}

/** The server refused the request (4xx). */
export class ApiRefused extends CliError {
  override readonly name = 'ApiRefused';
  readonly status: number;
  readonly code: string | undefined;
  constructor(status: number, message: string, code?: string) {
    super(EXIT.refused, message);
    this.status = status;
    this.code = code;
  }
}

/** The server cannot be reached or cannot serve now. Trying again later may help. */
export class ApiUnavailable extends CliError {
  override readonly name = 'ApiUnavailable';
  constructor(message: string, options?: ErrorOptions) {
    super(EXIT.unavailable, message, options);
  }
}

export interface ApiClientOptions {
  server: string;
  token: string;
  /** Time limit of a request with its whole answer, milliseconds. */
  timeoutMs: number;
  /** Ends every request in progress. */
  signal?: AbortSignal;
}

export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

export interface PageOf<T> {
  items: T[];
  next: string | null;
}

export interface RequestInput {
  query?: Query;
  body?: unknown;
  headers?: Record<string, string>;
}

const MAX_PAGE = 1_000;

export class ApiClient {
  readonly server: string;
  readonly #options: ApiClientOptions;
  readonly #fetch = proxyFetch();

  constructor(options: ApiClientOptions) {
    this.#options = options;
    this.server = options.server;
    // Every request in progress listens, and there may be many.
    if (options.signal !== undefined) setMaxListeners(0, options.signal);
  }

  /** A client with the same options and another signal. */
  withSignal(signal: AbortSignal): ApiClient {
    return new ApiClient({ ...this.#options, signal });
  }

  get<T>(path: string, query: Query = {}): Promise<T> {
    return this.request('GET', path, { query });
  }

  /** Follows cursors until `limit` items are there; `next` is not null when there are more. */
  async list<T>(path: string, query: Query, limit: number): Promise<PageOf<T>> {
    const items: T[] = [];
    let next: string | null = null;
    do {
      const page: PageOf<T> = await this.get(path, {
        ...query,
        limit: Math.min(MAX_PAGE, limit - items.length),
        cursor: next ?? undefined,
      });
      items.push(...page.items);
      next = page.next;
    } while (next !== null && items.length < limit);
    return { items, next };
  }

  async request<T>(method: string, path: string, input: RequestInput = {}): Promise<T> {
    const { status, retryAfter, text } = await this.#exchange(method, path, input);
    if (status < 200 || status > 299) throw this.#errorOf(status, retryAfter, text);
    if (text === '') return undefined as T;
    try {
      return JSON.parse(text) as T;
    } catch {
      throw new CliError(
        EXIT.fault,
        `${this.server} does not answer as Pushpoint does (no JSON). Is --server right?`,
      );
    }
  }

  /**
   * The body of an endless answer (server-sent events), on its own connection; `signal` closes it. It does
   * not use fetch, which silently replaces a cut connection and may lose the signal.
   */
  async open(path: string, input: RequestInput, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const url = this.#url(path, input.query);
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
    const request = send(url, { agent: proxyAgent(url) ?? false, headers: this.#headers(input) });
    const cut = (): void => {
      request.destroy(new Error('closed'));
    };
    const timer = setTimeout(cut, this.#options.timeoutMs);
    const signals = [signal, ...this.#outerSignal()];
    for (const each of signals) each.addEventListener('abort', cut);
    request.once('close', () => {
      for (const each of signals) each.removeEventListener('abort', cut);
    });
    if (signals.some((each) => each.aborted)) cut();
    try {
      const response = await new Promise<IncomingMessage>((resolve, reject) => {
        request.once('response', resolve).once('error', reject);
        request.end();
      });
      // From here on the reader gets the errors.
      request.on('error', () => {});
      if (response.statusCode === 200) return response;
      const text = await readText(response);
      throw this.#errorOf(response.statusCode ?? 0, response.headers['retry-after'] ?? null, text);
    } catch (error) {
      request.destroy();
      throw error instanceof CliError ? error : this.#unreachable(error);
    } finally {
      clearTimeout(timer);
    }
  }

  #outerSignal(): AbortSignal[] {
    return this.#options.signal === undefined ? [] : [this.#options.signal];
  }

  #url(path: string, query: Query = {}): URL {
    const url = new URL(this.server + path);
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined) url.searchParams.set(name, String(value));
    }
    return url;
  }

  #headers(input: RequestInput): Record<string, string> {
    return {
      accept: 'application/json, text/event-stream',
      authorization: `Bearer ${this.#options.token}`,
      ...(input.body === undefined ? {} : { 'content-type': 'application/json' }),
      ...input.headers,
    };
  }

  async #exchange(
    method: string,
    path: string,
    input: RequestInput,
  ): Promise<{ status: number; retryAfter: string | null; text: string }> {
    const abort = new AbortController();
    const stop = (): void => abort.abort();
    const timer = setTimeout(
      () => abort.abort(new DOMException('too late', 'TimeoutError')),
      this.#options.timeoutMs,
    );
    const { signal } = this.#options;
    signal?.addEventListener('abort', stop);
    if (signal?.aborted === true) stop();
    try {
      const response = await this.#fetch(this.#url(path, input.query), {
        method,
        headers: this.#headers(input),
        signal: abort.signal,
        redirect: 'error',
        ...(input.body === undefined ? {} : { body: JSON.stringify(input.body) }),
      });
      const text = await response.text();
      return { status: response.status, retryAfter: response.headers.get('retry-after'), text };
    } catch (error) {
      throw this.#unreachable(error);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', stop);
    }
  }

  #unreachable(error: unknown): CliError {
    if (this.#options.signal?.aborted === true) return new CliError(EXIT.interrupted, 'Interrupted.');
    const failure = error as Error & { code?: string; cause?: { code?: string; message?: string } };
    const cause = failure.cause ?? failure;
    const why =
      (error as Error).name === 'TimeoutError'
        ? `no answer within ${this.#options.timeoutMs / 1000} s`
        : (cause?.code ?? cause?.message ?? (error as Error).message);
    return new ApiUnavailable(
      `Cannot reach ${this.server}: ${why}. Does the administration server run there? Set --server or ` +
        'PUSHPOINT_SERVER.',
      { cause: error },
    );
  }

  #errorOf(status: number, retryAfter: string | null, text: string): CliError {
    const problem = parseProblem(text);
    const code = problem?.code;
    const detail = problem?.detail ?? problem?.title ?? `HTTP status ${status}`;
    const fields = (problem?.errors ?? []).map(({ path, message }) => `\n  - ${path}: ${message}`).join('');
    const again = retryAfter === null ? '' : ` Try again in ${retryAfter} s.`;
    if (status === 401) {
      return new ApiRefused(
        401,
        `${detail} Set --token-file or PUSHPOINT_TOKEN to a token of ${this.server}.`,
        code,
      );
    }
    if ([408, 502, 503, 504].includes(status)) {
      return new ApiUnavailable(`${this.server} cannot serve now: ${detail}${again}`);
    }
    if (status >= 400 && status < 500) {
      return new ApiRefused(status, `Refused: ${detail}${fields}${again}`, code);
    }
    return new CliError(EXIT.fault, `${this.server} failed: ${detail}`);
  }
}

async function readText(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of chunks) text += decoder.decode(chunk, { stream: true });
  return text;
}

function parseProblem(text: string): ProblemDocument | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as ProblemDocument) : undefined;
  } catch {
    return undefined;
  }
}
