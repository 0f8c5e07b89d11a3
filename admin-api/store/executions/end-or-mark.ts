/** Ends or marks executions (`end-causes.ts`) in SQL. */
import { sql } from 'kysely';
import { END_CAUSES, type EndCause, LASTING, markable } from '../end-causes.ts';
import { bulkUpdate } from '../sql/bulk-update.ts';
import type { Database, SqlDialect } from '../sql/sql-dialect.ts';
import { FIRST_FINAL_CODE, stateCode } from '../sql/state-codes.ts';
import type { ExecutionKey } from '../store.ts';
import { EXECUTION_KEY } from './rows.ts';

/** SQL for a move to the state `code`: whether the execution stays marked. */
export function staysMarked(code: ReturnType<typeof sql>) {
  return sql`${code} < ${sql.lit(FIRST_FINAL_CODE)} and e.ending >= ${sql.lit(LASTING)}`;
}

/**
 * `ended`: executions that were never sent. `marked`: executions that were sent and are in a state that the
 * mark applies to. Others are left alone.
 */
export async function endOrMark(
  db: Database,
  dialect: SqlDialect,
  keys: readonly ExecutionKey[],
  ending: EndCause,
  at: number,
): Promise<{ ended: ExecutionKey[]; marked: ExecutionKey[] }> {
  if (keys.length === 0) return { ended: [], marked: [] };
  const { code, state, unsent } = END_CAUSES[ending];
  const common = {
    table: 'executions',
    columns: EXECUTION_KEY,
    key: { command_id: 'command', device_id: 'device' },
  } as const;
  const ended = await bulkUpdate(db, dialect, {
    ...common,
    rows: keys.map(toKey),
    set: () =>
      sql`state = ${sql.lit(stateCode(state))}, reason = ${unsent},
        finished_at = ${at}, as_of = ${at}, ending = null`,
    where: () => sql`e.state = 0 and e.attempts = 0`,
  });
  const done = new Set(ended.map(nameOf));
  const marked = await bulkUpdate(db, dialect, {
    ...common,
    rows: keys.filter((key) => !done.has(nameOf(key))).map(toKey),
    set: () => sql`ending = ${sql.lit(code)}, as_of = ${at}`,
    where: () =>
      sql`e.state in (${sql.join(markable(ending).map((from) => sql.lit(stateCode(from))))})
        and (e.ending is null or e.ending < ${sql.lit(code)})`,
  });
  return { ended: ended.map(toKey), marked: marked.map(toKey) };
}

function toKey({ command, device }: ExecutionKey): { command: string; device: string } {
  return { command, device };
}

function nameOf({ command, device }: ExecutionKey): string {
  return `${command} ${device}`;
}
