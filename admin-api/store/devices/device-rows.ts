/** Rows of devices: parts of the queries that read them, and the records that they become. */
import { type RawBuilder, sql } from 'kysely';
import type { Compliance, MeasuredGateway } from '../../../protocol/index.ts';
import type { Copies, Device } from '../records.ts';
import type { DeviceTable } from '../sql/schema.ts';
import type { Database, SqlDialect } from '../sql/sql-dialect.ts';
import { searchPattern } from '../sql/text-filters.ts';
import type { DeviceFilter } from '../store.ts';

const ID = { id: 'text' } as const;

/** These ids as a table `r`, each once. */
export function idRows(dialect: SqlDialect, ids: readonly string[]): RawBuilder<unknown> {
  return dialect.rowsOf(
    ID,
    [...new Set(ids)].map((id) => ({ id })),
  );
}

/** Devices `d` with the path of their group. */
export function withPath(db: Database) {
  return db
    .selectFrom('devices as d')
    .innerJoin('groups as g', 'g.id', 'd.group_id')
    .selectAll('d')
    .select('g.path');
}

/** Devices `d` that the filter lets through. */
export function filtered(db: Database, { group, state, gateway, text }: DeviceFilter) {
  let query = db.selectFrom('devices as d');
  if (group !== undefined) {
    query = query.where((where) =>
      where(
        'd.group_id',
        'in',
        where
          .selectFrom('groups as g')
          .select('g.id')
          // The subtree as a range of paths, as in `inSubtree`, but of a path that is itself looked up.
          .where(sql<boolean>`g.path >= (select path from groups where id = ${group})
            and g.path < (select substr(path, 1, length(path) - 1) || '0' from groups where id = ${group})`),
      ),
    );
  }
  // Written out and not bound, so that the partial index on connected devices can serve.
  if (state === 'blocked') query = query.where('d.blocked_at', 'is not', null);
  if (state === 'connected') query = query.where(sql<boolean>`d.connected = 1 and d.blocked_at is null`);
  if (state === 'disconnected') query = query.where(sql<boolean>`d.connected = 0 and d.blocked_at is null`);
  if (gateway !== undefined) query = query.where('d.gateway', '=', gateway);
  if (text !== undefined) query = query.where(searchPattern('d.search', text));
  return query;
}

export function toDevice(row: DeviceTable): Device {
  return {
    id: row.id,
    groupId: row.group_id,
    name: row.name,
    platform: row.platform,
    software: row.software,
    publicKey: new Uint8Array(row.public_key),
    membershipRevision: row.membership_revision,
    blockedAt: row.blocked_at,
    createdAt: row.created_at,
    session: row.session,
    connected: row.connected === 1,
    gateway: row.gateway,
    worker: row.worker,
    incarnation: row.incarnation,
    address: row.address,
    caps: JSON.parse(row.caps_json) as string[],
    connectedAt: row.connected_at,
    disconnectedAt: row.disconnected_at,
    closeCode: row.close_code,
    closeReason: row.close_reason,
    displacedCount: row.displaced,
    displacedAt: row.displaced_at,
    copies: row.copies_json === null ? null : (JSON.parse(row.copies_json) as Copies),
    clonedAt: row.cloned_at,
    generation: row.generation,
    offered: row.offered,
    policy: row.policy,
    compliance: row.compliance as Compliance | null,
    measured: row.measured_json === null ? [] : (JSON.parse(row.measured_json) as MeasuredGateway[]),
  };
}
