import { type SqlBool, sql } from 'kysely';
import type { CommandType } from '../../../protocol/command-types.ts';
import type { SealedArgs } from '../../../protocol/index.ts';
import { claimKeys } from '../access/idempotency-keys.ts';
import { expandCommand, nextToExpand } from '../executions/command-expansion.ts';
import type { Command, CommandTarget, OfflinePolicy, Page, PageRequest, StateCounts } from '../records.ts';
import { readCursor, rowsOfPage, toPage } from '../sql/page-cursor.ts';
import type { CommandTable } from '../sql/schema.ts';
import type { Scope } from '../sql/scope.ts';
import { noCounts, stateOf } from '../sql/state-codes.ts';
import { inSpan } from '../sql/time-filters.ts';
import type { CommandFilter, Commands, NewCommand, Routes } from '../store.ts';
import { createListed, rowOf } from './listed-commands.ts';

const ID = { id: 'text' } as const;

/** How long idempotency keys are kept at least, and how many execution rows one statement deletes. */
const IDEMPOTENCY_KEPT_MS = 48 * 3_600_000;
const PRUNE_ROWS = 5_000;
const NO_ROUTES: Routes = new Map();

export class SqlCommands implements Commands {
  readonly #scope: Scope;
  /** Where the next `openIds` continues. */
  #openAfter: readonly [number, string] = [0, ''];
  constructor(scope: Scope) {
    this.#scope = scope;
  }

  create(command: NewCommand): ReturnType<Commands['create']> {
    return this.#scope.atomic(async (db) => {
      const used = (await claimKeys(db, this.#scope.dialect, [command])).get(command.id);
      if (used !== undefined) return used;
      await db
        .insertInto('commands')
        .values({
          ...rowOf(command),
          sealed_json: sealedJson(command.secret?.sealed),
          expanded: 0,
          expand_cursor: '',
          cancel_requested_at: null,
          finished_at: null,
        })
        .execute();
      return { created: true as const };
    });
  }

  createListed(
    ...[commands, now, routes = NO_ROUTES]: Parameters<Commands['createListed']>
  ): ReturnType<Commands['createListed']> {
    return this.#scope.atomic((db) => createListed(db, this.#scope.dialect, commands, now, routes));
  }

  async get(id: string): Promise<Command | null> {
    return (await this.getMany([id]))[0] ?? null;
  }

  getMany(ids: readonly string[]): Promise<Command[]> {
    return this.#scope.once(async (db) => {
      const { rows } = await sql<CommandTable>`
        select c.* from ${this.#idRows(ids)} join commands c on c.id = r.id order by c.id`.execute(db);
      return rows.map(toCommand);
    });
  }

  /** Newest first. */
  list(filter: CommandFilter, { limit, cursor }: PageRequest): Promise<Page<Command>> {
    const { type, state, device } = filter;
    const before = readCursor(cursor, ['text']);
    return this.#scope.once(async (db) => {
      let query = db.selectFrom('commands as c').selectAll('c').where(inSpan('c.issued_at', filter));
      if (type !== undefined) query = query.where('c.type', '=', type);
      if (state === 'open') query = query.where('c.finished_at', 'is', null);
      if (state === 'finished') query = query.where('c.finished_at', 'is not', null);
      if (device !== undefined) {
        query = query.where('c.id', 'in', (where) =>
          where.selectFrom('executions').select('command_id').where('device_id', '=', device),
        );
      }
      if (before !== null) query = query.where('c.id', '<', before[0]);
      const rows = await query.orderBy('c.id', 'desc').limit(rowsOfPage(limit)).execute();
      return toPage(rows.map(toCommand), limit, (last) => [last.id]);
    });
  }

  counts(ids: readonly string[]): Promise<Map<string, StateCounts>> {
    return this.#scope.once(async (db) => {
      const { rows } = await sql<{ id: string; state: number; n: number }>`
        select e.command_id as id, e.state, count(*) as n
        from ${this.#idRows(ids)} join executions e on e.command_id = r.id
        group by e.command_id, e.state`.execute(db);
      const counts = new Map(ids.map((id) => [id, noCounts()]));
      for (const { id, state, n } of rows) {
        const of = counts.get(id) as StateCounts;
        of[stateOf(state)] = n;
        of.total += n;
      }
      return counts;
    });
  }

  unexpanded(limit: number): Promise<string[]> {
    return this.#scope.once(async (db) => {
      const { rows } = await sql<{ id: string }>`
        select id from commands where expanded = 0 order by id limit ${limit}`.execute(db);
      return rows.map((row) => row.id);
    });
  }

  expand(
    ...[id, limit, now, routes = NO_ROUTES]: Parameters<Commands['expand']>
  ): ReturnType<Commands['expand']> {
    return this.#scope.atomic((db) => expandCommand(db, this.#scope.dialect, id, limit, now, routes));
  }

  nextToExpand(id: string, limit: number, after?: string): Promise<string[]> {
    return this.#scope.ahead((db) => nextToExpand(db, this.#scope.dialect, id, limit, after));
  }

  requestCancel(id: string, at: number): Promise<boolean> {
    return this.#scope.once(async (db) => {
      const { numUpdatedRows } = await db
        .updateTable('commands')
        .set({ cancel_requested_at: sql`coalesce(cancel_requested_at, ${at})` })
        .where('id', '=', id)
        .where('finished_at', 'is', null)
        .executeTakeFirstOrThrow();
      return numUpdatedRows > 0n;
    });
  }

  async finishIfDone(ids: readonly string[], at: number, only?: 'free'): Promise<string[]> {
    if (ids.length === 0) return [];
    const { dialect } = this.#scope;
    const locked = only === 'free' ? dialect.forUpdateOfFree('c') : dialect.forUpdate('c');
    return this.#scope.atomic(async (db) => {
      const done = sql<SqlBool>`c.finished_at is null and c.expanded = 1 and not exists (
        select 1 from executions e ${dialect.byIndex('executions_command_open')}
        where e.command_id = c.id and e.state < 10)`;
      const { rows } = await sql<{ id: string }>`
        select c.id from ${this.#idRows(ids)} join commands c on c.id = r.id
        where ${done} order by c.id ${locked}`.execute(db);
      if (rows.length === 0) return [];
      const finished = rows.map((row) => row.id);
      await sql`update commands set finished_at = ${at}
        where id in (select r.id from ${this.#idRows(finished)})`.execute(db);
      return finished;
    });
  }

  /** Each call continues where the previous one ended, so that a long list is read in turn. */
  openIds(limit: number): Promise<string[]> {
    return this.#scope.once(async (db) => {
      const [expiresAt, id] = this.#openAfter;
      const { rows } = await sql<{ id: string; expires_at: number }>`
        select id, expires_at from commands
        where finished_at is null and (expires_at, id) > (${expiresAt}, ${id})
        order by expires_at, id limit ${limit}`.execute(db);
      const last = rows.length < limit ? undefined : rows.at(-1);
      this.#openAfter = last === undefined ? [0, ''] : [last.expires_at, last.id];
      return rows.map((row) => row.id);
    });
  }

  /**
   * Runs many short transactions instead of one, because a command may have a million executions; deletes the
   * command itself last. Also forgets old idempotency keys.
   */
  async prune(finishedBefore: number, limit: number): Promise<number> {
    const ids = await this.#scope.once(async (db) => {
      await db
        .deleteFrom('idempotency')
        .where('created_at', '<', Math.min(finishedBefore, Date.now() - IDEMPOTENCY_KEPT_MS))
        .execute();
      const { rows } = await sql<{ id: string }>`
        select id from commands where finished_at is not null and finished_at < ${finishedBefore}
        order by finished_at limit ${limit}`.execute(db);
      return rows.map((row) => row.id);
    });
    for (const id of ids) {
      while ((await this.#pruneExecutions(id)) === PRUNE_ROWS);
      await this.#scope.once((db) => db.deleteFrom('commands').where('id', '=', id).execute());
    }
    return ids.length;
  }

  #pruneExecutions(id: string): Promise<number> {
    return this.#scope.once(async (db) => {
      const { numAffectedRows } = await sql`
        delete from executions where command_id = ${id} and device_id in (
          select device_id from executions where command_id = ${id}
          order by device_id limit ${sql.lit(PRUNE_ROWS)})`.execute(db);
      return Number(numAffectedRows ?? 0);
    });
  }

  #idRows(ids: readonly string[]) {
    return this.#scope.dialect.rowsOf(
      ID,
      [...new Set(ids)].map((id) => ({ id })),
    );
  }
}

function argsOf({ secret, args_json, sealed_json }: CommandTable): Pick<Command, 'args' | 'secret'> {
  if (secret === 0) return { args: JSON.parse(args_json) };
  return { args: null, secret: { atRest: JSON.parse(args_json), sealed: parseSealed(sealed_json) } };
}

function sealedJson(sealed: SealedArgs | null | undefined): string | null {
  if (!sealed) return null;
  const { key, nonce, ct } = sealed;
  return JSON.stringify({ key, nonce: toText(nonce), ct: toText(ct) });
}

function parseSealed(json: string | null): SealedArgs | null {
  if (json === null) return null;
  const { key, nonce, ct } = JSON.parse(json);
  return { key, nonce: Buffer.from(nonce, 'base64'), ct: Buffer.from(ct, 'base64') };
}

function toText(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}

function toCommand(row: CommandTable): Command {
  return {
    id: row.id,
    type: row.type as CommandType,
    ...argsOf(row),
    target: JSON.parse(row.target_json) as CommandTarget,
    offline: row.offline as OfflinePolicy,
    collapseKey: row.collapse_key,
    issuedAt: row.issued_at,
    expiresAt: row.expires_at,
    timeoutMs: row.timeout_ms,
    createdBy: row.created_by,
    expanded: row.expanded === 1,
    cancelRequestedAt: row.cancel_requested_at,
    finishedAt: row.finished_at,
  };
}
