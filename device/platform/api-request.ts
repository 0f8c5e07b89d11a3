/** Requests to the administration server's HTTP API, and their failures (E-6). */
import { LIMITS } from '../../protocol/index.ts';
import { retryAfterMs } from './retry-after.ts';

/** The platform's `fetch`, or a replacement. */
export type Fetch = (url: URL, init: RequestInit) => Promise<Response>;

export interface ApiRequest {
  /** Base URL of the API. */
  server: string;
  /** Below the base URL, without a slash before it. */
  path: string;
  body: object;
  /** Time limit, milliseconds; default 15 s. */
  timeoutMs?: number | undefined;
  signal?: AbortSignal | undefined;
  fetch?: Fetch | undefined;
}

interface Failure {
  temporary?: boolean;
  status?: number;
  code?: string;
  retryAfter?: number | undefined;
  answer?: Record<string, unknown>;
}

/** There was no valid answer. `temporary`: asking again later may help. */
export class ApiError extends Error {
  override readonly name: string = 'ApiError';
  readonly temporary: boolean;
  /** HTTP status; 0 without an answer. */
  readonly status: number;
  /** The server's word for what went wrong, or ''. */
  readonly code: string;
  readonly retryAfterMs: number | undefined;
  /** The answer, if it was JSON; it may come from a third party. */
  readonly answer: Record<string, unknown>;

  constructor(message: string, failure: Failure = {}) {
    const { temporary = false, status = 0, code = '', retryAfter, answer = {} } = failure;
    super(message);
    this.temporary = temporary;
    this.status = status;
    this.code = code;
    this.retryAfterMs = retryAfter;
    this.answer = answer;
  }
}

/** Posts JSON and resolves with the answer's JSON. Throws the error that `Refusal` makes of a failure. */
export async function apiPost(
  { server, path, body, timeoutMs = 15_000, signal, fetch = globalThis.fetch }: ApiRequest,
  Refusal: typeof ApiError = ApiError,
): Promise<Record<string, unknown>> {
  const base = server.endsWith('/') ? server : `${server}/`;
  const timeout = AbortSignal.timeout(timeoutMs);
  let response: Response;
  let text: string;
  try {
    response = await fetch(new URL(path, base), {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json' },
      body: JSON.stringify(body),
      redirect: 'error',
      signal: signal ? AbortSignal.any([timeout, signal]) : timeout,
    });
    text = await textOf(response);
  } catch (error) {
    if (error instanceof TooLong) throw new Refusal(`${server}: ${error.message}`, { temporary: true });
    const { message, cause } = error as Error;
    const why = cause instanceof Error ? `${message}: ${cause.message}` : message;
    throw new Refusal(`no answer from ${server}: ${why}`, { temporary: true });
  }
  const { status } = response;
  const json = jsonObject(text);
  if (!json) {
    const what = `HTTP ${status}, and not JSON as the administration server answers: something on the way?`;
    const retryAfter = retryAfterMs(response.headers.get('retry-after'));
    throw new Refusal(`${server}: ${what}`, { temporary: true, status, retryAfter });
  }
  if (response.ok) return json;
  const detail = typeof json.detail === 'string' ? json.detail : json.title;
  const code = typeof json.code === 'string' ? json.code : '';
  throw new Refusal(typeof detail === 'string' ? detail : `HTTP ${status}`, {
    // A third party, such as the login page of a network, may have answered.
    temporary: true,
    status,
    code,
    answer: json,
    retryAfter: retryAfterMs(response.headers.get('retry-after')),
  });
}

class TooLong extends Error {}

/** The whole body. Beyond the bound, the connection is dropped. */
async function textOf({ body }: Response): Promise<string> {
  if (!body) return '';
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let text = '';
  let bytes = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    bytes += value.byteLength;
    if (bytes > LIMITS.answerBytes) {
      reader.cancel().catch(() => undefined);
      throw new TooLong(`the answer has more than ${LIMITS.answerBytes} bytes: something on the way?`);
    }
    text += decoder.decode(value, { stream: true });
  }
}

function jsonObject(text: string): Record<string, unknown> | null {
  try {
    const json: unknown = JSON.parse(text);
    return typeof json === 'object' && json !== null ? (json as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}
