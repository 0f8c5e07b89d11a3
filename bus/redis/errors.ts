import { BusUnavailable } from '../bus.ts';
import type { Endpoint } from './settings.ts';

/** First words of error replies that mean Redis cannot serve now; every other error reply indicates a bug. */
const CANNOT_SERVE = new Set([
  'ASK',
  'BUSY',
  'CLUSTERDOWN',
  'LOADING',
  'MASTERDOWN',
  'MISCONF',
  'MOVED',
  'NOAUTH',
  'NOPERM',
  'NOREPLICAS',
  'OOM',
  'READONLY',
  'TRYAGAIN',
  'UNBLOCKED',
  'UNKILLABLE',
  'WRONGPASS',
]);

/** The code of an error reply, for example `NOGROUP`; `null` when the error is not a reply of Redis. */
export function replyCode(error: unknown): string | null {
  if (!(error instanceof Error) || !('command' in error)) return null;
  // Redis before 7 wraps the error of a command inside a script: "ERR Error running script ...: -OOM command
  // not allowed".
  const wrapped = /^ERR .*-(OOM|READONLY|MISCONF|NOREPLICAS) /.exec(error.message);
  return wrapped?.[1] ?? /^[A-Z]{2,}\b/.exec(error.message)?.[0] ?? null;
}

export interface Redirection {
  /** `moved`: for good; `ask`: for this once, while the slot changes hands. */
  kind: 'moved' | 'ask';
  slot: number;
  endpoint: Endpoint;
}

/** Where a server of a cluster sends a command that it does not serve; `null` for any other error. */
export function redirectionOf(error: unknown): Redirection | null {
  const code = replyCode(error);
  if (code !== 'MOVED' && code !== 'ASK') return null;
  const [, slot, host, port] = /^\w+ (\d+) (\S+):(\d+)$/.exec((error as Error).message) ?? [];
  if (host === undefined) return null;
  return {
    kind: code === 'MOVED' ? 'moved' : 'ask',
    slot: Number(slot),
    endpoint: { host, port: Number(port) },
  };
}

/**
 * Converts an error of the Redis client into the error for callers of the bus. Anything that is not an error
 * reply means that the connection is lost, timed out or was never ready.
 */
export function asBusError(error: unknown): unknown {
  if (error instanceof BusUnavailable) return error;
  const code = replyCode(error);
  if (code !== null && !CANNOT_SERVE.has(code)) return withoutArguments(error);
  return new BusUnavailable(reasonOf(error));
}

/**
 * For logs: the client's errors carry the arguments of the command, passwords among them, so they are not
 * logged whole.
 */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.message || ((error as { code?: string }).code ?? error.name);
}

function withoutArguments(error: unknown): unknown {
  const reply = error as { command?: { name?: string } };
  reply.command = { name: reply.command?.name ?? '' };
  return error;
}
