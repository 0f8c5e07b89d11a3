import { sql } from 'kysely';
import { type Page, type PageRequest, TUNNEL_STATES, type Tunnel } from './records.ts';
import { readCursor, rowsOfPage, toPage } from './sql/page-cursor.ts';
import type { TunnelTable } from './sql/schema.ts';
import type { Scope } from './sql/scope.ts';
import type { Database } from './sql/sql-dialect.ts';
import { stateOf } from './sql/state-codes.ts';
import { storableText } from './sql/storable-text.ts';
import { inSpan } from './sql/time-filters.ts';
import type { TunnelDependencies, TunnelFilter, TunnelReport, Tunnels } from './store.ts';

const OPENING = 0;
const OPEN = 1;
/** The partial indices of the migrations spell this number out. */
const ENDED = 2;
/** At most this many refused joins are reported one by one; more are only counted. */
const REFUSALS_TOLD = 10;

export class SqlTunnels implements Tunnels {
  readonly #scope: Scope;
  constructor(scope: Scope) {
    this.#scope = scope;
  }

  create(...[tunnel, limits]: Parameters<Tunnels['create']>): ReturnType<Tunnels['create']> {
    return this.#scope.atomic(async (db) => {
      // Two requests at once are counted one after the other.
      await this.#scope.dialect.lock(db, 'tunnels');
      const { at, end } = tunnel;
      if (end === null) {
        const live = await liveOf(db, tunnel.deviceId, tunnel.createdBy);
        if (live.device >= limits.perDevice) return 'device-full' as const;
        if (live.operator >= limits.perOperator) return 'operator-full' as const;
      }
      await db
        .insertInto('tunnels')
        .values({
          id: tunnel.id,
          device_id: tunnel.deviceId,
          host: tunnel.host,
          port: tunnel.port,
          reason: storableText(tunnel.reason),
          created_by: tunnel.createdBy,
          created_at: tunnel.createdAt,
          expires_at: tunnel.expiresAt,
          state: end === null ? OPENING : ENDED,
          opened_at: null,
          ended_at: end === null ? null : tunnel.createdAt,
          end_code: end?.code ?? null,
          end_reason: end?.reason ?? null,
          turn: at === null ? 0 : 1,
          command_id: at?.commandId ?? null,
          join_by: at?.joinBy ?? tunnel.createdAt,
          device_here: 0,
          operator_here: 0,
          streams: 0,
          refused: 0,
        })
        .execute();
      if (at !== null) await insertTurn(db, tunnel.id, 1, at, tunnel.createdAt);
      return 'created' as const;
    });
  }

  get(id: string): Promise<Tunnel | null> {
    return this.#scope.once(async (db) => (await tunnelsOf(db, [id]))[0] ?? null);
  }

  list(filter: TunnelFilter, { limit, cursor }: PageRequest): Promise<Page<Tunnel>> {
    const before = readCursor(cursor, ['text']);
    return this.#scope.once(async (db) => {
      let query = withTurns(db).where(inSpan('t.created_at', filter));
      if (filter.device !== undefined) query = query.where('t.device_id', '=', filter.device);
      if (filter.createdBy !== undefined) query = query.where('t.created_by', '=', filter.createdBy);
      if (filter.state === 'live') query = query.where('t.state', '<', ENDED);
      else if (filter.state !== undefined)
        query = query.where('t.state', '=', TUNNEL_STATES.indexOf(filter.state));
      if (before !== null) query = query.where('t.id', '<', before[0]);
      const rows = await query.orderBy('t.id', 'desc').limit(rowsOfPage(limit)).execute();
      return toPage(rows.map(toTunnel), limit, (last) => [last.id]);
    });
  }

  liveByIncarnation(): Promise<Map<string, number>> {
    return this.#scope.once(async (db) => {
      const { rows } = await sql<{ incarnation: string; count: number }>`
        select u.incarnation, count(*) as count from tunnels t
        join tunnel_turns u on u.tunnel_id = t.id and u.turn = t.turn
        where t.state < 2 group by u.incarnation`.execute(db);
      return new Map(rows.map((row) => [row.incarnation, Number(row.count)]));
    });
  }

  dependencies(now: number): Promise<TunnelDependencies[]> {
    return this.#scope.once(async (db) => {
      const rows = await withTurns(db)
        .leftJoin('executions as e', (join) =>
          join.onRef('e.command_id', '=', 't.command_id').onRef('e.device_id', '=', 't.device_id'),
        )
        .leftJoin('api_tokens as k', 'k.id', 't.created_by')
        .leftJoin('devices as d', 'd.id', 't.device_id')
        .where('t.state', '<', ENDED)
        .select([
          'e.state as command_state',
          'e.reason as command_reason',
          'k.id as token',
          'k.revoked_at as token_revoked_at',
          'k.expires_at as token_expires_at',
          'd.id as device',
          'd.blocked_at as device_blocked_at',
        ])
        .orderBy('t.id')
        .execute();
      return rows.map((row) => ({
        tunnel: toTunnel(row),
        command:
          row.command_state === null
            ? null
            : { state: stateOf(row.command_state), reason: row.command_reason },
        tokenEnded:
          row.token === null ||
          row.token_revoked_at !== null ||
          (row.token_expires_at !== null && row.token_expires_at <= now),
        device: row.device === null ? 'deleted' : row.device_blocked_at === null ? 'enrolled' : 'blocked',
      }));
    });
  }

  move(...[id, fromTurn, to, at]: Parameters<Tunnels['move']>): Promise<Tunnel | null> {
    return this.#scope.atomic(async (db) => {
      const { numUpdatedRows } = await db
        .updateTable('tunnels')
        .set({
          turn: fromTurn + 1,
          command_id: to.commandId,
          join_by: to.joinBy,
          device_here: 0,
          operator_here: 0,
        })
        .where('id', '=', id)
        .where('turn', '=', fromTurn)
        .where('state', '<', ENDED)
        .executeTakeFirstOrThrow();
      if (numUpdatedRows === 0n) return null;
      await insertTurn(db, id, fromTurn + 1, to, at);
      return (await tunnelsOf(db, [id]))[0] ?? null;
    });
  }

  apply(...[reports, at, workerOf]: Parameters<Tunnels['apply']>): ReturnType<Tunnels['apply']> {
    return this.#scope.atomic(async (db) => {
      const opened = new Set<string>();
      const ended = new Set<string>();
      const refused = new Set<string>();
      const arrived: { id: string; left: string }[] = [];
      for (const report of reports) {
        const { tunnel, here } = report;
        if (report.refused === true && (await countRefusal(db, tunnel))) refused.add(tunnel);
        const turn = (await turnOf(db, report)) ?? (await adopted(db, report, workerOf));
        if (turn === null) continue;
        await count(db, report, turn);
        await setHere(db, report, turn);
        if (here?.joined === true) {
          if (await openIfBothHere(db, tunnel, turn, at)) opened.add(tunnel);
          const left = await leftByArriving(db, tunnel, turn);
          if (left !== null) arrived.push({ id: tunnel, left });
        }
        if (report.end && (await end(db, tunnel, turn, report.end, at))) ended.add(tunnel);
      }
      return {
        opened: await tunnelsOf(db, [...opened]),
        ended: await tunnelsOf(db, [...ended]),
        refused: await tunnelsOf(db, [...refused]),
        arrived,
      };
    });
  }

  end(...[tunnels, at]: Parameters<Tunnels['end']>): Promise<Tunnel[]> {
    if (tunnels.length === 0) return Promise.resolve([]);
    return this.#scope.atomic(async (db) => {
      const ended: string[] = [];
      for (const { id, onTurn, code, reason } of tunnels) {
        if (await end(db, id, onTurn, { code, reason }, at)) ended.push(id);
      }
      return tunnelsOf(db, ended);
    });
  }

  prune(endedBefore: number, limit: number): Promise<number> {
    return this.#scope.atomic(async (db) => {
      const old = await db
        .selectFrom('tunnels')
        .select('id')
        .where('state', '=', ENDED)
        .where('ended_at', '<', endedBefore)
        .orderBy('ended_at')
        .limit(limit)
        .execute();
      if (old.length === 0) return 0;
      const ids = old.map((row) => row.id);
      await db.deleteFrom('tunnel_turns').where('tunnel_id', 'in', ids).execute();
      await db.deleteFrom('tunnels').where('id', 'in', ids).execute();
      return ids.length;
    });
  }
}

async function liveOf(db: Database, device: string, operator: string) {
  const { rows } = await sql<{ device: number; operator: number }>`
    select (select count(*) from tunnels where state < 2 and device_id = ${device}) as device,
      (select count(*) from tunnels where state < 2 and created_by = ${operator}) as operator`.execute(db);
  return { device: Number(rows[0]?.device ?? 0), operator: Number(rows[0]?.operator ?? 0) };
}

async function insertTurn(
  db: Database,
  id: string,
  turn: number,
  at: Parameters<Tunnels['move']>[2],
  beganAt: number,
): Promise<void> {
  const { gateway, worker, incarnation } = at;
  await db
    .insertInto('tunnel_turns')
    .values({
      tunnel_id: id,
      turn,
      gateway,
      worker,
      incarnation,
      began_at: beganAt,
      bytes_up: 0,
      bytes_down: 0,
    })
    .execute();
}

/** The last turn in which that worker had the tunnel. */
async function turnOf(db: Database, { tunnel, incarnation }: TunnelReport): Promise<number | null> {
  const row = await db
    .selectFrom('tunnel_turns')
    .select('turn')
    .where('tunnel_id', '=', tunnel)
    .where('incarnation', '=', incarnation)
    .orderBy('turn', 'desc')
    .limit(1)
    .executeTakeFirst();
  return row?.turn ?? null;
}

/** The tunnel's turn if its worker continues under a new incarnation. */
async function adopted(
  db: Database,
  { tunnel, incarnation }: TunnelReport,
  workerOf: (incarnation: string) => string | undefined = () => undefined,
): Promise<number | null> {
  const worker = workerOf(incarnation);
  const [known] = worker === undefined ? [] : await tunnelsOf(db, [tunnel]);
  if (!known || known.at?.worker !== worker || known.state === 'ended') return null;
  await db
    .updateTable('tunnel_turns')
    .set({ incarnation })
    .where('tunnel_id', '=', tunnel)
    .where('turn', '=', known.turn)
    .execute();
  return known.turn;
}

async function count(
  db: Database,
  { tunnel, bytesUp, bytesDown }: TunnelReport,
  turn: number,
): Promise<void> {
  if (bytesUp === undefined && bytesDown === undefined) return;
  const up = bytesUp ?? 0;
  const down = bytesDown ?? 0;
  // Reports may come twice and late: a total never shrinks.
  await db
    .updateTable('tunnel_turns')
    .set({
      bytes_up: sql<number>`case when bytes_up < ${up} then ${up} else bytes_up end`,
      bytes_down: sql<number>`case when bytes_down < ${down} then ${down} else bytes_down end`,
    })
    .where('tunnel_id', '=', tunnel)
    .where('turn', '=', turn)
    .execute();
}

async function setHere(db: Database, { tunnel, here, streams }: TunnelReport, turn: number): Promise<void> {
  if (here === undefined && streams === undefined) return;
  const flag = here?.joined ? 1 : 0;
  await db
    .updateTable('tunnels')
    .set({
      ...(streams !== undefined && { streams }),
      ...(here?.side === 'device' && { device_here: flag as 0 | 1 }),
      ...(here?.side === 'operator' && { operator_here: flag as 0 | 1 }),
    })
    .where('id', '=', tunnel)
    .where('turn', '=', turn)
    .where('state', '<', ENDED)
    .execute();
}

/** Counts a refused join; returns whether to report it. */
async function countRefusal(db: Database, id: string): Promise<boolean> {
  const row = await db
    .updateTable('tunnels')
    .set({ refused: sql<number>`refused + 1` })
    .where('id', '=', id)
    .returning('refused')
    .executeTakeFirst();
  return row !== undefined && row.refused <= REFUSALS_TOLD;
}

async function openIfBothHere(
  db: Database,
  tunnel: string,
  turn: number,
  openedAt: number,
): Promise<boolean> {
  const { numUpdatedRows } = await db
    .updateTable('tunnels')
    .set({ state: OPEN, opened_at: openedAt })
    .where('id', '=', tunnel)
    .where('turn', '=', turn)
    .where('state', '=', OPENING)
    .where('device_here', '=', 1)
    .where('operator_here', '=', 1)
    .executeTakeFirstOrThrow();
  return numUpdatedRows > 0n;
}

/** The previous incarnation, once both ends of a moved tunnel have joined. */
async function leftByArriving(db: Database, tunnel: string, turn: number): Promise<string | null> {
  if (turn < 2) return null;
  const row = await db
    .selectFrom('tunnels as t')
    .innerJoin('tunnel_turns as u', 'u.tunnel_id', 't.id')
    .select('u.incarnation')
    .where('t.id', '=', tunnel)
    .where('t.turn', '=', turn)
    .where('t.device_here', '=', 1)
    .where('t.operator_here', '=', 1)
    .where('u.turn', '=', turn - 1)
    .executeTakeFirst();
  return row?.incarnation ?? null;
}

async function end(
  db: Database,
  id: string,
  turn: number | undefined,
  { code, reason }: { code: string; reason: string },
  at: number,
): Promise<boolean> {
  let query = db
    .updateTable('tunnels')
    .set({
      state: ENDED,
      ended_at: at,
      end_code: storableText(code),
      end_reason: storableText(reason),
      device_here: 0,
      operator_here: 0,
      streams: 0,
    })
    .where('id', '=', id)
    .where('state', '<', ENDED);
  if (turn !== undefined) query = query.where('turn', '=', turn);
  const { numUpdatedRows } = await query.executeTakeFirstOrThrow();
  return numUpdatedRows > 0n;
}

async function tunnelsOf(db: Database, ids: readonly string[]): Promise<Tunnel[]> {
  if (ids.length === 0) return [];
  const rows = await withTurns(db)
    .where('t.id', 'in', [...ids])
    .orderBy('t.id')
    .execute();
  return rows.map(toTunnel);
}

/** Tunnels `t` with their current worker, and their bytes on all workers. */
function withTurns(db: Database) {
  return db
    .selectFrom('tunnels as t')
    .leftJoin('tunnel_turns as u', (join) =>
      join.onRef('u.tunnel_id', '=', 't.id').onRef('u.turn', '=', 't.turn'),
    )
    .selectAll('t')
    .select([
      'u.gateway',
      'u.worker',
      'u.incarnation',
      sql<number>`(select coalesce(sum(a.bytes_up), 0) from tunnel_turns a where a.tunnel_id = t.id)`.as(
        'up',
      ),
      sql<number>`(select coalesce(sum(a.bytes_down), 0) from tunnel_turns a where a.tunnel_id = t.id)`.as(
        'down',
      ),
    ]);
}

type Row = TunnelTable &
  Record<'gateway' | 'worker' | 'incarnation', string | null> & { up: number; down: number };

function toTunnel(row: Row): Tunnel {
  const { gateway, worker, incarnation, command_id: commandId } = row;
  const state = TUNNEL_STATES[row.state];
  if (state === undefined) throw new Error(`no tunnel state has the code ${row.state}`);
  return {
    id: row.id,
    deviceId: row.device_id,
    host: row.host,
    port: row.port,
    reason: row.reason,
    createdBy: row.created_by,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    state,
    openedAt: row.opened_at,
    endedAt: row.ended_at,
    end: row.end_code === null ? null : { code: row.end_code, reason: row.end_reason ?? '' },
    turn: row.turn,
    at:
      gateway === null || worker === null || incarnation === null || commandId === null
        ? null
        : { gateway, worker, incarnation, commandId, joinBy: row.join_by },
    deviceHere: row.device_here === 1,
    operatorHere: row.operator_here === 1,
    streams: row.streams,
    bytesUp: Number(row.up),
    bytesDown: Number(row.down),
    refused: row.refused,
  };
}
