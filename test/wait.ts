import { createServer } from 'node:net';

/**
 * How much longer than asked anything is waited for: a deadline is there to end a test that hangs, and must not fail one
 * whose machine is busy.
 */
const PATIENCE = 3;

export interface WaitOptions {
  /** How long it may take on an idle machine, milliseconds; 10,000 when absent. Rejects after three times as long. */
  timeoutMs?: number;
  /** Milliseconds between two looks; 10 when absent. */
  intervalMs?: number;
  /** What is waited for, for the error's message. */
  what?: string;
}

/**
 * Polls until `condition` returns something truthy and returns that. A condition that throws counts as not yet true;
 * what it threw last is the `cause` of the error at the deadline.
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

/** A TCP port of 127.0.0.1 that nobody listened on a moment ago. Another process may take it before you do. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  await new Promise<void>((resolve) => server.close(() => resolve()));
  if (address === null || typeof address === 'string') throw new Error('no TCP address');
  return address.port;
}
