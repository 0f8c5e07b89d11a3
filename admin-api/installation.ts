/** The identity of the installation: created with the database, at the first start of any server on it. */
import type { Installation } from '../bus/bus.ts';
import { newId } from './identifiers.ts';
import type { Meta, Store } from './store/store.ts';

const ID = 'installation-id';
const EPOCH = 'installation-epoch';

/** Servers that start at the same time on an empty database agree on one. */
export async function loadInstallation(meta: Meta): Promise<Installation> {
  const id = (await meta.get(ID)) ?? (await meta.setOnce(ID, newId('i')));
  const epoch = (await meta.get(EPOCH)) ?? (await meta.setOnce(EPOCH, '1'));
  return { id, epoch: Number(epoch) };
}

/** After a backup was restored: begins the next epoch, later than any `seen` in use. */
export async function beginEpoch(store: Store, seen: number, at: number): Promise<Installation> {
  return store.transaction(async (tx) => {
    const before = await loadInstallation(tx.meta);
    const epoch = Math.max(before.epoch, seen) + 1;
    await tx.meta.set(EPOCH, String(epoch));
    const detail = { epoch, before: before.epoch };
    await tx.audit.append({
      at,
      actor: 'system',
      action: 'installation.restored',
      subject: before.id,
      detail,
    });
    return { id: before.id, epoch };
  });
}
