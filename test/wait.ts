import { createServer } from 'node:net';

/**
 * How much longer than asked anything is waited for: a deadline is there to end a test that hangs, and must
 * not fail one whose machine is busy.
 */
const PATIENCE = 3;

export interface WaitOptions {
  /**
   * How long it may take on an idle machine, milliseconds; 10,000 when absent. Rejects after three times as
   * long.
   */
  timeoutMs?: number;
  /** Milliseconds between two looks; 10 when absent. */
  intervalMs?: number;
  /** What is waited for, for the error's message. */
  what?: string;
}

/**
 * Polls until `condition` returns something truthy and returns that. A condition that throws counts as not
 * yet true; what it threw last is the `cause` of the error at the deadline.
 */
export async function waitFor<T>(
  condition: () => T | Promise<T>,
  { timeoutMs = 10_000, intervalMs = 10, what = 'a condition' }: WaitOptions = {},
): Promise<Exclude<T, undefined | null | false | 0 | ''>> {
  const deadline = performance.now() + timeoutMs * PATIENCE;
  let cause: unknown;
  for (;;) {
    try {
      const value = await condition();
      cause = undefined;
      if (value) return value as Exclude<T, undefined | null | false | 0 | ''>;
    } catch (error) {
      cause = error;
    }
    if (performance.now() >= deadline) {
      throw new Error(
        `waited ${timeoutMs * PATIENCE} ms in vain for ${what}`,
        cause === undefined ? {} : { cause },
      );
    }
    await new Promise((resolve) => setTimeout(resolve, intervalMs));
  }
}

/**
 * Below what kernels give to outgoing connections, so that a program finds its port free when it is started
 * again.
 */
const LOWEST_PORT = 20_000;
const HIGHEST_PORT = 32_000;

/** A TCP port of 127.0.0.1 that nobody listens on, and that nobody gets by accident. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const port = LOWEST_PORT + Math.floor(Math.random() * (HIGHEST_PORT - LOWEST_PORT));
    if (await isFree(port)) return port;
  }
  throw new Error(`no free port from ${LOWEST_PORT} to ${HIGHEST_PORT}`);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
