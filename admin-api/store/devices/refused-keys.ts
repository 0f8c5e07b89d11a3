import type { Scope } from '../sql/scope.ts';
import type { Database } from '../sql/sql-dialect.ts';
import type { RefusedKeys } from '../store.ts';

export class SqlRefusedKeys implements RefusedKeys {
  readonly #scope: Scope;
  constructor(scope: Scope) {
    this.#scope = scope;
  }

  why(publicKey: Uint8Array): Promise<'rotated' | 'split' | null> {
    return this.#scope.once(async (db) => {
      const query = db.selectFrom('refused_keys').select('why').where('public_key', '=', publicKey);
      return (await query.executeTakeFirst())?.why ?? null;
    });
  }

  rotated(device: string, publicKey: Uint8Array, at: number, keep: number): Promise<void> {
    return this.#scope.atomic(async (db) => {
      await refuse(db, { device, publicKey, why: 'rotated', at });
      const former = db.selectFrom('refused_keys').select('at').where('device_id', '=', device);
      const oldest = await former.orderBy('at', 'desc').offset(keep).limit(1).executeTakeFirst();
      if (!oldest) return;
      await db
        .deleteFrom('refused_keys')
        .where('device_id', '=', device)
        .where('at', '<=', oldest.at)
        .execute();
    });
  }

  rotations(device: string, since: number): Promise<number[]> {
    return this.#scope.once(async (db) => {
      const query = db.selectFrom('refused_keys').select('at').where('device_id', '=', device);
      const rows = await query.where('at', '>', since).orderBy('at', 'desc').execute();
      return rows.map(({ at }) => at);
    });
  }
}

/** `split`: no key of the device may enrol again. Otherwise all may, because the device no longer exists. */
export async function releaseKeys(
  db: Database,
  device: string,
  { split, at }: { split: boolean; at: number },
): Promise<void> {
  if (!split) {
    await db.deleteFrom('refused_keys').where('device_id', '=', device).execute();
    return;
  }
  await db.updateTable('refused_keys').set({ why: 'split' }).where('device_id', '=', device).execute();
  const row = await db.selectFrom('devices').select('public_key').where('id', '=', device).executeTakeFirst();
  if (row) await refuse(db, { device, publicKey: row.public_key, why: 'split', at });
}

async function refuse(
  db: Database,
  {
    device,
    publicKey,
    why,
    at,
  }: { device: string; publicKey: Uint8Array; why: 'rotated' | 'split'; at: number },
): Promise<void> {
  await db
    .insertInto('refused_keys')
    .values({ public_key: publicKey, device_id: device, why, at })
    .onConflict((conflict) => conflict.column('public_key').doUpdateSet({ device_id: device, why, at }))
    .execute();
}
