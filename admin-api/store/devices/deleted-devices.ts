import type { DeletedDeviceTable } from '../sql/schema.ts';
import type { Scope } from '../sql/scope.ts';
import type { DeletedDevice, DeletedDevices } from '../store.ts';

const COLUMNS = ['id', 'revision', 'moved_to', 'moved_fingerprint'] as const;

function toDeleted(row: Pick<DeletedDeviceTable, (typeof COLUMNS)[number]>): DeletedDevice {
  const { id, revision, moved_to: url, moved_fingerprint: fingerprint } = row;
  if (url === null || fingerprint === null) return { id, revision };
  return { id, revision, to: { url, fingerprint: new Uint8Array(fingerprint) } };
}

export class SqlDeletedDevices implements DeletedDevices {
  readonly #scope: Scope;
  constructor(scope: Scope) {
    this.#scope = scope;
  }

  ofIds(ids: readonly string[]): Promise<DeletedDevice[]> {
    if (ids.length === 0) return Promise.resolve([]);
    return this.#scope.once((db) =>
      db
        .selectFrom('deleted_devices')
        .select(COLUMNS)
        .where('id', 'in', ids)
        .execute()
        .then((rows) => rows.map(toDeleted)),
    );
  }

  scan(after: string, limit: number): Promise<DeletedDevice[]> {
    return this.#scope.once((db) =>
      db
        .selectFrom('deleted_devices')
        .select(COLUMNS)
        .where('id', '>', after)
        .orderBy('id')
        .limit(limit)
        .execute()
        .then((rows) => rows.map(toDeleted)),
    );
  }

  forget(before: number, limit: number): Promise<string[]> {
    return this.#scope.atomic(async (db) => {
      const rows = await db
        .selectFrom('deleted_devices')
        .select('id')
        .where('deleted_at', '<', before)
        .orderBy('deleted_at')
        .limit(limit)
        .execute();
      const ids = rows.map(({ id }) => id);
      if (ids.length > 0) await db.deleteFrom('deleted_devices').where('id', 'in', ids).execute();
      return ids;
    });
  }
}
