/** Maps errors of PostgreSQL, its driver and the socket to what they mean for the store. */
import { StoreSettingsError } from '../store-settings-error.ts';

/** SQLSTATE or the socket's error code; empty if there is none. */
export function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : '';
}

/**
 * SQLSTATE classes (PostgreSQL, appendix A): 08 connection, 28 authorisation, 3D no such database, 53
 * resources, 57 operator intervention (shutdown, statement timeout), 58 system error; 25006 a standby, 25P03
 * idle in transaction. Errors without a SQLSTATE come from the socket or from pg itself.
 */
export function isUnavailable(error: unknown): boolean {
  if (error instanceof StoreSettingsError) return true;
  const code = codeOf(error);
  if (/^(08|28|3D|53|57|58)...$/.test(code) || code === '25006' || code === '25P03') return true;
  if (/^E[A-Z_]+$/.test(code)) return true;
  return (
    error instanceof Error &&
    (/^(connection terminated|client has encountered a connection error|client was closed)/i.test(
      error.message,
    ) ||
      /^(query read timeout|timeout exceeded|timeout expired|cannot use a pool)/i.test(error.message))
  );
}

/** Whether the transaction lost against another one: a serialisation failure or a deadlock. */
export function isConflict(error: unknown): boolean {
  return ['40001', '40P01'].includes(codeOf(error));
}
