import type { SignedServerKeys } from '../protocol/index.ts';

/**
 * The closed set of errors of the HTTP API (RFC 9457). `code` is what programs compare; `type` is derived
 * from it.
 */
const STATUS = {
  'bad-request': 400,
  unauthorized: 401,
  forbidden: 403,
  'not-found': 404,
  'method-not-allowed': 405,
  'request-timeout': 408,
  conflict: 409,
  'key-replaced': 409,
  'idempotency-conflict': 409,
  'not-empty': 409,
  gone: 410,
  'precondition-failed': 412,
  'too-large': 413,
  'unsupported-media-type': 415,
  'past-expiry': 422,
  'unknown-reference': 422,
  'too-many-requests': 429,
  internal: 500,
  unavailable: 503,
} as const;

export type ProblemCode = keyof typeof STATUS;

export const PROBLEM_CODES = Object.keys(STATUS) as [ProblemCode, ...ProblemCode[]];

export class Problem extends Error {
  override readonly name = 'Problem';
  readonly code: ProblemCode;
  /** HTTP status. */
  readonly status: number;
  /** Seconds after which trying again makes sense. */
  readonly retryAfter: number | undefined;
  /** `detail` says what is wrong and what to do, in a sentence. */
  constructor(code: ProblemCode, detail: string, retryAfter?: number) {
    super(detail);
    this.code = code;
    this.status = STATUS[code];
    this.retryAfter = retryAfter;
  }
}

/** A signed refusal, which a device can distinguish from a forged one (PROTOCOL.md, E-6). */
export class SignedRefusal extends Problem {
  readonly keys: readonly SignedServerKeys[];
  readonly sig: Uint8Array;
  constructor({ code, message }: Problem, keys: readonly SignedServerKeys[], sig: Uint8Array) {
    super(code, message);
    this.keys = keys;
    this.sig = sig;
  }
}
