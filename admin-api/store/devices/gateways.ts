import { sql, type Updateable } from 'kysely';
import type { Gateway, Page, PageRequest } from '../records.ts';
import { readCursor, rowsOfPage, toPage } from '../sql/page-cursor.ts';
import type { GatewayTable } from '../sql/schema.ts';
import type { Scope } from '../sql/scope.ts';
import type { Gateways } from '../store.ts';
import { requireGroup } from './groups.ts';

export class SqlGateways implements Gateways {
  readonly #scope: Scope;
  constructor(scope: Scope) {
    this.#scope = scope;
  }

  get(name: string): Promise<Gateway | null> {
    return this.#scope.once(async (db) => {
      const row = await db.selectFrom('gateways').selectAll().where('name', '=', name).executeTakeFirst();
      return row === undefined ? null : toGateway(row);
    });
  }

  getForChange(name: string): Promise<Gateway | null> {
    return this.#scope.once(async (db) => {
      const { rows } = await sql<GatewayTable>`
        select g.* from gateways g where g.name = ${name} ${this.#scope.dialect.forUpdate('g')}`.execute(db);
      return rows[0] === undefined ? null : toGateway(rows[0]);
    });
  }

  list({ limit, cursor }: PageRequest): Promise<Page<Gateway>> {
    const after = readCursor(cursor, ['text']);
    return this.#scope.once(async (db) => {
      let query = db.selectFrom('gateways').selectAll();
      if (after !== null) query = query.where('name', '>', after[0]);
      const rows = await query.orderBy('name').limit(rowsOfPage(limit)).execute();
      return toPage(rows.map(toGateway), limit, (last) => [last.name]);
    });
  }

  all(): Promise<Gateway[]> {
    return this.#scope.once(async (db) => {
      const rows = await db.selectFrom('gateways').selectAll().orderBy('name').execute();
      return rows.map(toGateway);
    });
  }

  create(gateway: Gateway): Promise<boolean> {
    return this.#scope.atomic(async (db) => {
      await requireGroup(db, gateway.groupId);
      const { numInsertedOrUpdatedRows } = await db
        .insertInto('gateways')
        .values({
          name: gateway.name,
          group_id: gateway.groupId,
          run_push_server: gateway.runPushServer ? 1 : 0,
          port: gateway.port,
          address: gateway.address,
          connection_limit: gateway.connectionLimit,
          revision: gateway.revision,
          draining_since: gateway.drainingSince,
          drained_at: gateway.drainedAt,
          created_at: gateway.createdAt,
          updated_at: gateway.updatedAt,
        })
        .onConflict((conflict) => conflict.doNothing())
        .executeTakeFirstOrThrow();
      return numInsertedOrUpdatedRows !== 0n;
    });
  }

  update(
    name: string,
    { groupId, runPushServer, port, address, connectionLimit }: Parameters<Gateways['update']>[1],
    at: number,
  ): Promise<Gateway | null> {
    const values: Updateable<GatewayTable> = { updated_at: at };
    if (groupId !== undefined) values.group_id = groupId;
    if (runPushServer !== undefined) values.run_push_server = runPushServer ? 1 : 0;
    if (port !== undefined) values.port = port;
    if (address !== undefined) values.address = address;
    if (connectionLimit !== undefined) values.connection_limit = connectionLimit;
    return this.#scope.atomic(async (db) => {
      if (groupId !== undefined) await requireGroup(db, groupId);
      const row = await db
        .updateTable('gateways')
        .set({ ...values, revision: sql`revision + 1` })
        .where('name', '=', name)
        .returningAll()
        .executeTakeFirst();
      return row === undefined ? null : toGateway(row);
    });
  }

  setDraining(name: string, since: number | null, at: number): Promise<Gateway | null> {
    return this.#scope.once(async (db) => {
      const row = await db
        .updateTable('gateways')
        .set({ draining_since: since, drained_at: null, updated_at: at, revision: sql`revision + 1` })
        .where('name', '=', name)
        .where('draining_since', since === null ? 'is not' : 'is', null)
        .returningAll()
        .executeTakeFirst();
      return row === undefined ? null : toGateway(row);
    });
  }

  markDrained(name: string, revision: number, at: number): Promise<boolean> {
    return this.#scope.once(async (db) => {
      const { numUpdatedRows } = await db
        .updateTable('gateways')
        .set({ drained_at: at })
        .where('name', '=', name)
        .where('revision', '=', revision)
        .where('draining_since', 'is not', null)
        .where('drained_at', 'is', null)
        .executeTakeFirstOrThrow();
      return numUpdatedRows > 0n;
    });
  }

  delete(name: string): Promise<boolean> {
    return this.#scope.once(async (db) => {
      const { numDeletedRows } = await db
        .deleteFrom('gateways')
        .where('name', '=', name)
        .executeTakeFirstOrThrow();
      return numDeletedRows > 0n;
    });
  }
}

function toGateway(row: GatewayTable): Gateway {
  return {
    name: row.name,
    groupId: row.group_id,
    runPushServer: row.run_push_server === 1,
    port: row.port,
    address: row.address,
    connectionLimit: row.connection_limit,
    revision: row.revision,
    drainingSince: row.draining_since,
    drainedAt: row.drained_at,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}
