/** Joins: gateways that ask for a certificate. */

/**
 * Most pending requests, their longest form in bytes, and how long requests and answers are kept,
 * milliseconds. A gateway that still waits asks again.
 */
export const JOINS = { requestsMax: 100, requestBytesMax: 8 * 1024, keptMs: 600_000 } as const;

/** A request as its gateway wrote it; `id` is the SHA-256 of its content, 64 hexadecimal digits. */
export interface JoinRequested {
  id: string;
  request: Uint8Array;
}

/**
 * Requests to join and their answers. The bus vouches for neither: requests prove who asks, and answers are
 * signed and their secrets encrypted for the gateway that asked.
 */
export interface Joins {
  /**
   * Leaves the request for an administration server; repeating it keeps it longer. `full`: too many are
   * pending. Throws `RangeError` for one that is too long.
   */
  ask(id: string, request: Uint8Array): Promise<'asked' | 'full'>;
  /** Those without an answer, `JOINS.requestsMax` at most; longer ones than allowed are left out. */
  waiting(): Promise<JoinRequested[]>;
  /** Drops the request; its gateway finds the answer. */
  answer(id: string, answer: Uint8Array): Promise<void>;
  /** Drops requests without an answer. */
  drop(ids: readonly string[]): Promise<void>;
  /** `null`: none, or not yet. */
  answerTo(id: string): Promise<Uint8Array | null>;
}
