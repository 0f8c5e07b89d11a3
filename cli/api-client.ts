/** The HTTP API as the operators' commands see it: JSON in, JSON out, and errors that say what to do. */
import { CliError, EXIT } from './exit-codes.ts';

/** RFC 9457, as far as the server says it. */
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

/** Nobody answers there, or what answers cannot serve now. Trying again later may help. */
export class ApiUnavailable extends CliError {
  override readonly name = 'ApiUnavailable';
  constructor(message: string, options?: ErrorOptions) {
    super(EXIT.unavailable, message, options);
  }
}

export interface ApiClientOptions {
  server: string;
  token: string;
  /** One request with its whole answer, milliseconds. */
  timeoutMs: number;
  /** Ends every request under way. */
  signal?: AbortSignal;
}

export type Query = Readonly<Record<string, string | number | undefined>>;

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

  constructor(options: ApiClientOptions) {
    this.#options = options;
    this.server = options.server;
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
    const signal = AbortSignal.any([AbortSignal.timeout(this.#options.timeoutMs), ...this.#outerSignal()]);
    const response = await this.#fetch(method, path, input, signal);
    const text = await this.#readText(response);
    if (!response.ok) throw this.#errorOf(response, text);
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

  /** The body of an answer that has no end (server-sent events); `signal` closes it. */
  async open(path: string, input: RequestInput, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const opening = new AbortController();
    const timer = setTimeout(() => opening.abort(new Error('no answer')), this.#options.timeoutMs);
    try {
      const response = await this.#fetch(
        'GET',
        path,
        input,
        AbortSignal.any([signal, opening.signal, ...this.#outerSignal()]),
      );
      if (!response.ok) throw this.#errorOf(response, await this.#readText(response));
      return (response.body as AsyncIterable<Uint8Array> | null) ?? nothing();
    } finally {
      clearTimeout(timer);
    }
  }

  #outerSignal(): AbortSignal[] {
    return this.#options.signal === undefined ? [] : [this.#options.signal];
  }

  async #fetch(method: string, path: string, input: RequestInput, signal: AbortSignal): Promise<Response> {
    const url = new URL(this.server + path);
    for (const [name, value] of Object.entries(input.query ?? {})) {
      if (value !== undefined) url.searchParams.set(name, String(value));
    }
    const headers: Record<string, string> = {
      accept: 'application/json, text/event-stream',
      authorization: `Bearer ${this.#options.token}`,
      ...input.headers,
    };
    if (input.body !== undefined) headers['content-type'] = 'application/json';
    try {
      return await fetch(url, {
        method,
        headers,
        signal,
        redirect: 'error',
        ...(input.body === undefined ? {} : { body: JSON.stringify(input.body) }),
      });
    } catch (error) {
      throw this.#unreachable(error);
    }
  }

  async #readText(response: Response): Promise<string> {
    try {
      return await response.text();
    } catch (error) {
      throw this.#unreachable(error);
    }
  }

  #unreachable(error: unknown): CliError {
    if (this.#options.signal?.aborted === true) return new CliError(EXIT.interrupted, 'Interrupted.');
    const cause = (error as { cause?: { code?: string; message?: string } }).cause;
    const why =
      (error as Error).name === 'TimeoutError'
        ? `no answer within ${this.#options.timeoutMs / 1000} s`
        : (cause?.code ?? cause?.message ?? (error as Error).message);
    return new ApiUnavailable(
      `Cannot reach ${this.server}: ${why}. Does the administration server run there? Set --server or PUSHPOINT_SERVER.`,
      { cause: error },
    );
  }

  #errorOf(response: Response, text: string): CliError {
    const problem = parseProblem(text);
    const code = problem?.code;
    const detail = problem?.detail ?? problem?.title ?? `HTTP status ${response.status}`;
    const fields = (problem?.errors ?? []).map(({ path, message }) => `\n  - ${path}: ${message}`).join('');
    const retryAfter = response.headers.get('retry-after');
    const again = retryAfter === null ? '' : ` Try again in ${retryAfter} s.`;
    if (response.status === 401) {
      return new ApiRefused(
        401,
        `${detail} Set --token-file or PUSHPOINT_TOKEN to a token of ${this.server}.`,
        code,
      );
    }
    if (response.status >= 400 && response.status < 500) {
      return new ApiRefused(response.status, `Refused: ${detail}${fields}${again}`, code);
    }
    if ([502, 503, 504].includes(response.status)) {
      return new ApiUnavailable(`${this.server} cannot serve now: ${detail}${again}`);
    }
    return new CliError(EXIT.fault, `${this.server} failed: ${detail}`);
  }
}

async function* nothing(): AsyncGenerator<Uint8Array, void, void> {}

function parseProblem(text: string): ProblemDocument | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as ProblemDocument) : undefined;
  } catch {
    return undefined;
  }
}
