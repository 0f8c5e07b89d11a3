/** Which command belongs to each idempotency key. */
import { sql } from 'kysely';
import { type Database, RowValue, type SqlDialect } from '../sql/sql-dialect.ts';
import type { KeyInUse, NewCommand } from '../store.ts';

const CLAIM = ['created_by', 'key', 'body_hash', 'command_id', 'created_at'] as const;
const KEY = { created_by: 'text', key: 'text' } as const;

type Claim = ReturnType<typeof claimOf>;

/**
 * Claims the keys of these commands. Returns, by command id, those whose key was used before, even by an
 * earlier one in the list. Waits for a transaction that has just claimed one of them.
 */
export async function claimKeys(
  db: Database,
  dialect: SqlDialect,
  commands: readonly NewCommand[],
): Promise<Map<string, KeyInUse>> {
  const claims = commands.flatMap((command) =>
    command.idempotency === undefined ? [] : [claimOf(command, command.idempotency)],
  );
  const used = new Map<string, KeyInUse>();
  if (claims.length === 0) return used;
  const claimed = await insertClaims(db, dialect, claims);
  const late = claims.filter(({ command_id }) => !claimed.has(command_id));
  if (late.length === 0) return used;
  const { rows } = await sql<Claim>`
    select distinct i.created_by, i.key, i.body_hash, i.command_id from ${dialect.rowsOf(KEY, late)}
    join idempotency i on i.created_by = r.created_by and i.key = r.key`.execute(db);
  const holders = new Map(rows.map((row) => [JSON.stringify([row.created_by, row.key]), row]));
  for (const { created_by, key, body_hash, command_id } of late) {
    const holder = holders.get(JSON.stringify([created_by, key])) as Claim;
    const same = Buffer.compare(holder.body_hash, body_hash) === 0;
    used.set(command_id, same ? { existing: holder.command_id } : { conflict: holder.command_id });
  }
  return used;
}

function claimOf(command: NewCommand, { key, bodyHash }: { key: string; bodyHash: Uint8Array }) {
  const { id, createdBy, issuedAt } = command;
  return { created_by: createdBy, key, body_hash: bodyHash, command_id: id, created_at: issuedAt };
}

/** The ids of the commands that own their keys now. */
async function insertClaims(
  db: Database,
  dialect: SqlDialect,
  claims: readonly Claim[],
): Promise<Set<string>> {
  if (dialect.runForEach) {
    const columns = sql.join(CLAIM.map((name) => sql.ref(name)));
    const values = sql.join(CLAIM.map((name) => sql`${new RowValue(name)}`));
    const query = sql`insert into idempotency (${columns}) values (${values}) on conflict do nothing`;
    return new Set(dialect.runForEach(db, query, claims).map(({ command_id }) => command_id));
  }
  // Ordered by key, so that two such statements wait for each other instead of deadlocking.
  const ordered = [...claims].sort((a, b) => compare(a.created_by, b.created_by) || compare(a.key, b.key));
  const rows = await db
    .insertInto('idempotency')
    .values(ordered)
    .onConflict((conflict) => conflict.doNothing())
    .returning('command_id')
    .execute();
  return new Set(rows.map((row) => row.command_id));
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
