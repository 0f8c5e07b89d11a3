/** Executions that are inserted as sent, which saves an update of the row. */
import { sql } from 'kysely';
import type { Database, SqlDialect } from '../sql/sql-dialect.ts';
import type { ExecutionKey, Routes } from '../store.ts';
import { EXECUTION_KEY } from './rows.ts';

const DEVICE = { device: 'text' } as const;
const SENT = { ...EXECUTION_KEY, incarnation: 'text', session: 'integer' } as const;

/** Those of `devices` with nothing queued or sent: an execution that is sent now overtakes nothing. */
export async function withNothingWaiting(
  db: Database,
  dialect: SqlDialect,
  devices: readonly string[],
): Promise<Set<string>> {
  if (devices.length === 0) return new Set();
  const { rows } = await sql<{ device: string }>`
    select r.device from ${dialect.rowsOf(
      DEVICE,
      devices.map((device) => ({ device })),
    )}
    where not exists (
      select 1 from executions e
      where e.device_id = r.device and e.state < 10 and e.state in (0, 1))`.execute(db);
  return new Set(rows.map((row) => row.device));
}

/** Every device must have a route. */
export async function insertSent(
  db: Database,
  dialect: SqlDialect,
  keys: readonly ExecutionKey[],
  routes: Routes,
  now: number,
): Promise<void> {
  if (keys.length === 0) return;
  const rows = keys.map(({ command, device }) => {
    const { incarnation, session } = routes.get(device) ?? { incarnation: null, session: null };
    return { command, device, incarnation, session };
  });
  await sql`
    insert into executions (command_id, device_id, state, attempts, sent_at, incarnation, session)
    select r.command, r.device, 1, 1, ${now}, r.incarnation, r.session
    from ${dialect.rowsOf(SENT, rows)}`.execute(db);
}
