/** What workers and devices report about devices, applied to their rows in batches. */
import { sql } from 'kysely';
import type { MeasuredGateway } from '../../../protocol/index.ts';
import type { Device } from '../records.ts';
import { bulkUpdate } from '../sql/bulk-update.ts';
import type { DeviceTable } from '../sql/schema.ts';
import type { Database, SqlDialect } from '../sql/sql-dialect.ts';
import { searchText } from '../sql/text-filters.ts';
import type { SessionChange, StatusReport } from '../store.ts';
import { idRows, toDevice } from './device-rows.ts';
import { SESSION_COLUMNS, type SessionRow, sessionApplied } from './sessions.ts';

const SESSION_COLUMN_NAMES = Object.keys(SESSION_COLUMNS) as (keyof typeof SESSION_COLUMNS)[];
const NAME_COLUMNS = { device: 'text', new_name: 'text', new_search: 'text' } as const;
const DISPLACED_COLUMNS = { device: 'text', at: 'integer' } as const;
const DISPLACED_APART_MS = 3_600_000;
const MEASURE_COLUMNS = { device: 'text', new_near: 'text', new_measured: 'text' } as const;
const STATUS_COLUMNS = {
  device: 'text',
  new_policy: 'text',
  new_compliance: 'text',
  number: 'integer',
} as const;

export async function applySessions(
  db: Database,
  dialect: SqlDialect,
  changes: readonly SessionChange[],
): Promise<{ connected: string[]; disconnected: string[] }> {
  const connected: string[] = [];
  const disconnected: string[] = [];
  // A row has twice as many columns.
  const columns = sql.join(SESSION_COLUMN_NAMES.map((column) => sql.ref(`e.${column}`)));
  const { rows } = await sql<SessionRow>`
    select ${columns} from ${idRows(
      dialect,
      changes.map((c) => c.device),
    )} join devices e on e.id = r.id
    order by e.id ${dialect.forUpdate('e')}`.execute(db);
  const known = new Map(rows.map((row) => [row.id, row]));
  const changed = new Map<string, SessionRow>();
  for (const report of changes) {
    const row = known.get(report.device);
    const next = row === undefined ? null : sessionApplied(row, report);
    if (next === null) continue;
    known.set(next.id, next);
    changed.set(next.id, next);
  }
  const before = new Map(rows.map((row) => [row.id, row]));
  for (const { id, connected: now, session } of changed.values()) {
    const was = before.get(id) as SessionRow;
    if (now === 1 && (was.connected === 0 || was.session !== session)) connected.push(id);
    if (now === 0 && was.connected === 1) disconnected.push(id);
  }
  await bulkUpdate(db, dialect, {
    table: 'devices',
    columns: SESSION_COLUMNS,
    rows: [...changed.values()],
    key: { id: 'id' },
    set: (r) =>
      sql.join(
        SESSION_COLUMN_NAMES.filter((column) => column !== 'id').map(
          (column) => sql`${sql.ref(column)} = ${r(column)}`,
        ),
      ),
    where: () => sql`1 = 1`,
  });
  return { connected, disconnected };
}

export async function applyStatus(
  db: Database,
  dialect: SqlDialect,
  rows: readonly StatusReport[],
): Promise<string[]> {
  const changed = await bulkUpdate(db, dialect, {
    table: 'devices',
    columns: STATUS_COLUMNS,
    rows: rows.map(({ device, number, policy, compliance }) => ({
      ...{ device, number },
      new_policy: policy ?? null,
      new_compliance: compliance ?? null,
    })),
    key: { id: 'device' },
    set: (r) => sql`policy = coalesce(${r('new_policy')}, policy),
      compliance = coalesce(${r('new_compliance')}, compliance), status_number = ${r('number')}`,
    where: (r) => sql`${r('number')} > e.status_number`,
  });
  return changed.map((row) => row.device);
}

export async function applyMeasures(
  db: Database,
  dialect: SqlDialect,
  rows: readonly { device: string; near: string; measured: MeasuredGateway[] }[],
): Promise<void> {
  await bulkUpdate(db, dialect, {
    table: 'devices',
    columns: MEASURE_COLUMNS,
    rows: rows.map(({ device, near, measured }) => ({
      device,
      new_near: near,
      new_measured: measured.length === 0 ? null : JSON.stringify(measured),
    })),
    key: { id: 'device' },
    set: (r) => sql`near = ${r('new_near')}, measured_json = ${r('new_measured')}`,
    where: (r) => sql`(e.near <> ${r('new_near')} or e.measured_json is distinct from ${r('new_measured')})`,
  });
}

export async function applyNames(
  db: Database,
  dialect: SqlDialect,
  rows: readonly { device: string; name: string }[],
): Promise<{ device: string; name: string; before: string }[]> {
  const { rows: known } = await sql<Pick<DeviceTable, 'id' | 'name'>>`
    select e.id, e.name from ${idRows(
      dialect,
      rows.map(({ device }) => device),
    )}
    join devices e on e.id = r.id
    order by e.id ${dialect.forUpdate('e')}`.execute(db);
  const before = new Map(known.map(({ id, name }) => [id, name]));
  const changed = await bulkUpdate(db, dialect, {
    table: 'devices',
    columns: NAME_COLUMNS,
    rows: rows.map(({ device, name }) => ({
      device,
      new_name: name,
      new_search: searchText(device, name),
    })),
    key: { id: 'device' },
    set: (r) => sql`name = ${r('new_name')}, search = ${r('new_search')}`,
    where: (r) => sql`(e.named = 0 and e.name <> ${r('new_name')})`,
  });
  return changed.map(({ device, new_name: name }) => ({
    device,
    name,
    before: before.get(device) ?? '',
  }));
}

export async function applyDisplaced(
  db: Database,
  dialect: SqlDialect,
  devices: readonly string[],
  at: number,
): Promise<Device[]> {
  await bulkUpdate(db, dialect, {
    table: 'devices',
    columns: DISPLACED_COLUMNS,
    rows: devices.map((device) => ({ device, at })),
    key: { id: 'device' },
    set: (r) => sql`displaced_at = ${r('at')},
      displaced = case when displaced_at >= ${at - DISPLACED_APART_MS} then displaced + 1 else 1 end`,
    where: () => sql`1 = 1`,
  });
  const { rows } = await sql<DeviceTable>`
    select e.* from ${idRows(dialect, devices)} join devices e on e.id = r.id order by e.id`.execute(db);
  return rows.map(toDevice);
}
