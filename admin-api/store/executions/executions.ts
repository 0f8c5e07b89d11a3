import { type RawBuilder, sql } from 'kysely';
import type { ExecutionState } from '../../../protocol/index.ts';
import type { EndCause } from '../end-causes.ts';
import type { Execution, Page, PageRequest } from '../records.ts';
import { bulkUpdate } from '../sql/bulk-update.ts';
import { readCursor, rowsOfPage, toPage } from '../sql/page-cursor.ts';
import type { Scope } from '../sql/scope.ts';
import type { Database } from '../sql/sql-dialect.ts';
import { FIRST_FINAL_CODE, stateCode, stateOf } from '../sql/state-codes.ts';
import { inSpan } from '../sql/time-filters.ts';
import type {
  Advance,
  Clock,
  DueExecution,
  ExecutionFilter,
  ExecutionKey,
  Executions,
  QueuedExecution,
  QueuedExecutions,
} from '../store.ts';
import { advanceExecutions } from './advance.ts';
import { supersede } from './command-expansion.ts';
import { dueExecutions, nextDue } from './due-executions.ts';
import { endOrMark } from './end-or-mark.ts';
import { EXECUTION_KEY, type JoinedExecution, toExecution } from './rows.ts';

const DEVICE = { device: 'text' } as const;
const DEVICE_SESSION = { device: 'text', session: 'integer' } as const;
const SENT_COLUMNS = { ...EXECUTION_KEY, incarnation: 'text', session: 'integer' } as const;

const KEY_IN_ROWS = { command_id: 'command', device_id: 'device' } as const;
/** The condition of the partial indices on open executions: SQLite uses them only for this very text. */
const OPEN = sql`e.state < 10`;
const KEY_OF_E = sql`e.command_id as command, e.device_id as device`;

/** One statement of `connectedWithQueued` reads this many executions; other work runs between statements. */
const SWEEP_ROWS = 5_000;

type WithState = ExecutionKey & { state: ExecutionState };

/**
 * SQL here spells out states instead of binding them: SQLite uses a partial index only for its own condition.
 */
export class SqlExecutions implements Executions {
  readonly #scope: Scope;
  constructor(scope: Scope) {
    this.#scope = scope;
  }

  get({ command, device }: ExecutionKey): Promise<Execution | null> {
    return this.#scope.once(async (db) => {
      const row = await joined(db, true)
        .where('e.command_id', '=', command)
        .where('e.device_id', '=', device)
        .executeTakeFirst();
      return row === undefined ? null : toExecution(row);
    });
  }

  /** Executions of one command are ordered by device id; otherwise the newest command comes first. */
  list(filter: ExecutionFilter, { limit, cursor }: PageRequest, withData = false): Promise<Page<Execution>> {
    const { command, device, state, finished } = filter;
    const last = readCursor(cursor, ['text', 'text']);
    return this.#scope.once(async (db) => {
      let query = joined(db, withData).where(inSpan('c.issued_at', filter));
      if (finished !== undefined) query = query.where(inSpan('e.finished_at', finished));
      if (state !== undefined) {
        query = query.where(sql<boolean>`e.state = ${sql.lit(stateCode(state))}`);
        if (isOpen(state)) query = query.where(sql<boolean>`${OPEN}`);
      }
      if (device !== undefined) query = query.where('e.device_id', '=', device);
      if (command !== undefined) {
        query = query.where('e.command_id', '=', command).orderBy('e.device_id');
        if (last !== null) query = query.where('e.device_id', '>', last[1]);
      } else {
        query = query.orderBy('e.command_id', 'desc').orderBy('e.device_id', 'desc');
        if (last !== null) {
          query = query.where(sql<boolean>`(e.command_id, e.device_id) < (${last[0]}, ${last[1]})`);
        }
      }
      const rows = await query.limit(rowsOfPage(limit)).execute();
      return toPage(rows.map(toExecution), limit, (row) => [row.commandId, row.deviceId]);
    });
  }

  queuedFor(devices: readonly string[], perDevice: number): Promise<QueuedExecutions> {
    return this.#scope.once(async (db) => {
      // Reads one more than a device has room for, and the first of a device without room, to learn whether
      // something is held back. States are 0 (queued) and 1 (sent), so their sum is how many are sent.
      const { rows } = await sql<QueuedExecution & { place: number; room: number }>`
        select q.command, q.device, c.expires_at as "expiresAt", c.collapse_key as "collapseKey",
          q.place, q.room
        from (
          select ${KEY_OF_E}, e.state, e.ending,
            row_number() over (partition by e.device_id, e.state, e.ending order by e.command_id) as place,
            ${perDevice} - cast(sum(e.state) over (partition by e.device_id) as integer) as room
          from ${this.#deviceRows(devices)}
          join executions e on e.device_id = r.device and ${OPEN} and e.state in (0, 1)) as q
        join commands c on c.id = q.command
        where q.state = 0 and q.ending is null and (q.place = 1 or q.place <= q.room + 1)
        order by q.command, q.device`.execute(db);
      return {
        due: rows.filter(({ place, room }) => place <= room).map(({ place: _, room: __, ...row }) => row),
        heldBack: rows.filter(({ place, room }) => place > room).map(({ device }) => device),
      };
    });
  }

  async connectedWithQueued(limit: number): Promise<string[]> {
    const found: string[] = [];
    for (let after = ''; ; ) {
      const page = await this.#scope.once(async (db) => {
        const { rows } = await sql<{ device: string; connected: number | null }>`
          select q.device, d.connected
          from (select distinct e.device_id as device from executions e
            where ${OPEN} and e.device_id > ${after} order by e.device_id limit ${sql.lit(SWEEP_ROWS)}) as q
          left join devices d on d.id = q.device and d.connected = 1 and d.blocked_at is null
            and exists (select 1 from executions e where e.device_id = d.id and ${OPEN} and e.state = 0)
          order by q.device`.execute(db);
        return rows;
      });
      for (const row of page) if (row.connected === 1) found.push(row.device);
      const last = page.at(-1);
      if (found.length >= limit || last === undefined || page.length < SWEEP_ROWS) break;
      after = last.device;
      await new Promise((resolve) => setImmediate(resolve));
    }
    return found.slice(0, limit);
  }

  markSent(
    rows: readonly (ExecutionKey & { incarnation: string; session: number })[],
    at: number,
  ): Promise<ExecutionKey[]> {
    return this.#scope.atomic(async (db) => {
      const sent = await bulkUpdate(db, this.#scope.dialect, {
        table: 'executions',
        columns: SENT_COLUMNS,
        rows,
        key: KEY_IN_ROWS,
        set: (r) => sql`state = 1, attempts = e.attempts + 1, sent_at = ${at},
          incarnation = ${r('incarnation')}, session = ${r('session')}`,
        where: () => sql`e.state = 0 and e.ending is null`,
      });
      return sent.map(toKey);
    });
  }

  requeue(rows: readonly ExecutionKey[], incarnation: string): Promise<ExecutionKey[]> {
    return this.#scope.atomic((db) => this.#requeueKeys(db, rows, sql`e.incarnation = ${incarnation}`));
  }

  requeueSessions(rows: readonly { device: string; session: number }[]): Promise<ExecutionKey[]> {
    return this.#scope.atomic(async (db) => {
      const { rows: keys } = await sql<ExecutionKey & { session: number }>`
        select ${KEY_OF_E}, e.session from ${this.#scope.dialect.rowsOf(DEVICE_SESSION, rows)}
        join executions e
          on e.device_id = r.device and ${OPEN} and e.state = 1 and e.session <= r.session`.execute(db);
      // Leaves alone executions that were sent again through a newer session since the read.
      const requeued = await bulkUpdate(db, this.#scope.dialect, {
        table: 'executions',
        columns: KEY_AND_SESSION,
        rows: keys.map(({ command, device, session }) => ({ command, device, sent_session: session })),
        key: KEY_IN_ROWS,
        set: () => sql`state = 0`,
        where: (r) => sql`e.state = 1 and e.session <= ${r('sent_session')}`,
      });
      return requeued.map(toKey);
    });
  }

  requeueIncarnation(incarnation: string, limit: number): Promise<ExecutionKey[]> {
    return this.#requeueWhere(sql`e.incarnation = ${incarnation}`, limit);
  }

  incarnations(): Promise<string[]> {
    return this.#scope.once(async (db) => {
      const { rows } = await sql<{ incarnation: string }>`
        select distinct incarnation from executions where state = 1 order by incarnation`.execute(db);
      return rows.map((row) => row.incarnation);
    });
  }

  sentByIncarnation(): Promise<Map<string, number>> {
    return this.#scope.ahead(async (db) => {
      const { rows } = await sql<{ incarnation: string; sent: number }>`
        select incarnation, count(*) as sent from executions where state = 1 group by incarnation`.execute(
        db,
      );
      return new Map(rows.map((row) => [row.incarnation, Number(row.sent)]));
    });
  }

  requeueSentBefore(before: number, limit: number): Promise<ExecutionKey[]> {
    return this.#requeueWhere(sql`e.sent_at < ${before}`, limit);
  }

  #requeueWhere(condition: RawBuilder<unknown>, limit: number): Promise<ExecutionKey[]> {
    return this.#scope.atomic(async (db) => {
      const { rows } = await sql<ExecutionKey>`
        select ${KEY_OF_E} from executions e where e.state = 1 and ${condition} limit ${limit}`.execute(db);
      return this.#requeueKeys(db, rows, condition);
    });
  }

  async #requeueKeys(
    db: Database,
    rows: readonly ExecutionKey[],
    condition: RawBuilder<unknown>,
  ): Promise<ExecutionKey[]> {
    const requeued = await bulkUpdate(db, this.#scope.dialect, {
      table: 'executions',
      columns: EXECUTION_KEY,
      rows,
      key: KEY_IN_ROWS,
      set: () => sql`state = 0`,
      where: () => sql`e.state = 1 and ${condition}`,
    });
    return requeued.map(toKey);
  }

  async advance(rows: readonly Advance[]): ReturnType<Executions['advance']> {
    if (rows.length === 0) return { changed: [], current: [], late: [] };
    return this.#scope.atomic((db) => advanceExecutions(db, this.#scope.dialect, rows));
  }

  async finish(
    rows: readonly (ExecutionKey & { asOf?: number })[],
    from: readonly ExecutionState[],
    state: ExecutionState,
    reason: string,
    at: number,
  ): Promise<WithState[]> {
    if (rows.length === 0 || from.length === 0) return [];
    return this.#scope.atomic(async (db) => {
      const { dialect } = this.#scope;
      const given = rows.map(({ command, device, asOf }) => ({ command, device, moment: asOf ?? at }));
      const { rows: found } = await sql<ExecutionKey & { state: number; moment: number }>`
        select ${KEY_OF_E}, e.state, r.moment from ${dialect.rowsOf(KEY_AND_MOMENT, given)}
        join executions e on e.command_id = r.command and e.device_id = r.device
        where e.state in (${codes(from)})
        order by e.command_id, e.device_id ${dialect.forUpdate('e')}`.execute(db);
      await bulkUpdate(db, dialect, {
        table: 'executions',
        columns: KEY_AND_MOMENT,
        rows: found.map(({ command, device, moment }) => ({ command, device, moment })),
        key: KEY_IN_ROWS,
        set: (r) =>
          sql`state = ${sql.lit(stateCode(state))}, reason = ${reason}, finished_at = ${at},
            as_of = ${r('moment')}, ending = null`,
        where: () => sql`1 = 1`,
      });
      return found.map(withState);
    });
  }

  end(
    rows: readonly ExecutionKey[],
    ending: EndCause,
    at: number,
  ): Promise<{ ended: ExecutionKey[]; marked: ExecutionKey[] }> {
    return this.#scope.atomic((db) => endOrMark(db, this.#scope.dialect, rows, ending, at));
  }

  nextDue(expiredUpTo: number): Promise<number | null> {
    return this.#scope.once((db) => nextDue(db, expiredUpTo));
  }

  due(
    clock: Clock,
    before: number,
    after: DueExecution | null,
    limit: number,
    expiredUpTo = 0,
  ): Promise<DueExecution[]> {
    return this.#scope.once((db) =>
      dueExecutions(db, this.#scope.dialect, clock, before, after, limit, expiredUpTo),
    );
  }

  open(
    after: ExecutionKey | null,
    limit: number,
  ): Promise<(ExecutionKey & { state: ExecutionState; ackedAt: number | null })[]> {
    const { command, device } = after ?? { command: '', device: '' };
    return this.#scope.once(async (db) => {
      const { rows } = await sql<ExecutionKey & { state: number; ackedAt: number | null }>`
        select ${KEY_OF_E}, e.state, e.acked_at as "ackedAt"
        from executions e ${this.#scope.dialect.byIndex('executions_open')}
        where ${OPEN} and (e.device_id, e.command_id) > (${device}, ${command})
        order by e.device_id, e.command_id limit ${limit}`.execute(db);
      return rows.map(({ ackedAt, ...row }) => ({ ...withState(row), ackedAt }));
    });
  }

  ofCommand(
    command: string,
    states: readonly ExecutionState[],
    after: string,
    limit: number,
  ): Promise<string[]> {
    return this.#scope.once(async (db) => {
      if (states.length === 0) return [];
      const { rows } = await sql<{ device: string }>`
        select e.device_id as device from executions e
        where e.command_id = ${command} and ${states.every(isOpen) ? OPEN : sql`1 = 1`}
          and e.state in (${codes(states)}) and e.device_id > ${after}
        order by e.device_id limit ${limit}`.execute(db);
      return rows.map((row) => row.device);
    });
  }

  openOf(device: string, limit: number, after = ''): Promise<WithState[]> {
    return this.#withStates(sql`
      select ${KEY_OF_E}, e.state from executions e
      where e.device_id = ${device} and ${OPEN} and e.command_id > ${after}
      order by e.command_id limit ${limit}`);
  }

  ackedBefore(
    devices: readonly string[],
    before: number,
    after: ExecutionKey | null,
    limit: number,
  ): Promise<ExecutionKey[]> {
    const { command, device } = after ?? { command: '', device: '' };
    return this.#scope.once(async (db) => {
      const { rows } = await sql<ExecutionKey>`
        select ${KEY_OF_E} from ${this.#deviceRows(devices)}
        join executions e on e.device_id = r.device and ${OPEN} and e.acked_at < ${before}
        where (e.device_id, e.command_id) > (${device}, ${command})
        order by e.device_id, e.command_id limit ${limit}`.execute(db);
      return rows;
    });
  }

  /** A newer command that was canceled or has expired supersedes nothing. */
  supersedeStale(devices: readonly string[], at: number): Promise<ExecutionKey[]> {
    return this.#scope.atomic(async (db) => {
      const { rows } = await sql<ExecutionKey>`
        select ${KEY_OF_E} from ${this.#deviceRows(devices)}
        join executions e on e.device_id = r.device and ${OPEN} and e.state = 0 and e.ending is null
        join commands c on c.id = e.command_id and c.collapse_key is not null
        where exists (
          select 1 from executions newer join commands n on n.id = newer.command_id
          where newer.device_id = e.device_id and newer.command_id > e.command_id
            and newer.state not in (${codes(['canceled', 'expired'])}) and n.collapse_key = c.collapse_key
            and (n.offline = 'queue' or newer.state > 0))`.execute(db);
      return supersede(db, this.#scope.dialect, rows, at);
    });
  }

  #withStates(query: RawBuilder<unknown>): Promise<WithState[]> {
    return this.#scope.once(async (db) => {
      const { rows } = await (query as RawBuilder<ExecutionKey & { state: number }>).execute(db);
      return rows.map(withState);
    });
  }

  #deviceRows(devices: readonly string[]) {
    return this.#scope.dialect.rowsOf(
      DEVICE,
      [...new Set(devices)].map((device) => ({ device })),
    );
  }
}

function toKey({ command, device }: ExecutionKey): ExecutionKey {
  return { command, device };
}

function isOpen(state: ExecutionState): boolean {
  return stateCode(state) < FIRST_FINAL_CODE;
}

const KEY_AND_MOMENT = { ...EXECUTION_KEY, moment: 'integer' } as const;
const KEY_AND_SESSION = { ...EXECUTION_KEY, sent_session: 'integer' } as const;

function codes(states: readonly ExecutionState[]): RawBuilder<unknown> {
  return sql.join(states.map((state) => sql.lit(stateCode(state))));
}

function withState({ command, device, state }: ExecutionKey & { state: number }): WithState {
  return { command, device, state: stateOf(state) };
}

const WITHOUT_DATA = [
  ...(['command_id', 'device_id', 'state', 'reason', 'percent', 'note', 'attempts', 'sent_at'] as const),
  ...(['acked_at', 'started_at', 'finished_at', 'finish_by', 'incarnation', 'session'] as const),
  ...(['late_state', 'late_reason', 'late_at', 'ending', 'as_of'] as const),
] as const;

function joined(db: Database, withData: boolean) {
  return db
    .selectFrom('executions as e')
    .innerJoin('commands as c', 'c.id', 'e.command_id')
    .select(WITHOUT_DATA.map((column) => `e.${column}` as const))
    .select(withData ? 'e.data_json' : sql<string | null>`null`.as('data_json'))
    .select(['c.type', 'c.issued_at', 'c.expires_at', 'c.secret'])
    .$castTo<JoinedExecution>();
}
