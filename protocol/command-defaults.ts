/**
 * Defaults of a command. They are apart from the schemas, which the command line would have to load on every
 * run.
 */
const MINUTE = 60_000;

/**
 * `timeoutMs` is the default finish-by clock; `collapseKey` the key that makes a newer command supersede an
 * undelivered older one, `null` for types that never collapse by themselves.
 */
export const COMMAND_DEFAULTS = {
  sync: { timeoutMs: 15 * MINUTE, collapseKey: 'sync' },
  'task.start': { timeoutMs: 60 * MINUTE, collapseKey: null },
  'task.stop': { timeoutMs: 5 * MINUTE, collapseKey: null },
  statistics: { timeoutMs: 5 * MINUTE, collapseKey: null },
  message: { timeoutMs: 15 * MINUTE, collapseKey: null },
  'tunnel.open': { timeoutMs: MINUTE, collapseKey: null },
  'tunnel.close': { timeoutMs: MINUTE, collapseKey: null },
  identify: { timeoutMs: MINUTE, collapseKey: null },
} as const;

/** Deliver-by clock: seven days. */
export const DEFAULT_TTL_MS = 7 * 24 * 60 * MINUTE;
