/** Writes the whole directory from SQL, and knows what changed in SQL while it did. */
import type { DirectoryDevice, DirectoryWriting } from '../../bus/bus.ts';
import type { Device } from '../store/records.ts';
import type { DeletedDevice, Store } from '../store/store.ts';

export type DeviceWithPath = Device & { groupPath: string };

const CHUNK = 1000;

export interface WriterParts {
  store: Pick<Store, 'devices' | 'deletedDevices'>;
  entry(device: DeviceWithPath): DirectoryDevice;
  deletion(device: DeletedDevice): DirectoryDevice;
  /** Runs one reading of rows with their writing at a time, changes included. */
  inTurn<T>(work: () => Promise<T>): Promise<T>;
  /** What was written of these is older than what SQL has. */
  stale(ids: readonly string[]): void;
  /** To be written before the directory is marked as whole. */
  last(): Promise<void>;
  stopping(): boolean;
}

/** Resolves with the generation, or `null` when the server stops. Rejects like `DirectoryWriting`. */
export async function writeAll(parts: WriterParts, writing: DirectoryWriting): Promise<string | null> {
  const { store, entry, deletion, inTurn, stale, last, stopping } = parts;
  for (let after = ''; ; ) {
    const from = after;
    const devices = await inTurn(async () => {
      const rows = await store.devices.scan(from, CHUNK);
      if (rows.length > 0) await writing.put(rows.map(entry));
      return rows;
    });
    if (stopping()) return null;
    if (devices.length === 0) break;
    stale(changed(devices, await store.devices.scan(from, CHUNK)));
    after = devices[devices.length - 1]?.id ?? after;
  }
  for (let after = ''; ; ) {
    const deleted = await store.deletedDevices.scan(after, CHUNK);
    if (deleted.length > 0) await writing.put(deleted.map(deletion));
    if (stopping()) return null;
    if (deleted.length < CHUNK) break;
    after = deleted.at(-1)?.id ?? after;
  }
  await last();
  return writing.finish();
}

/**
 * Which of the rows that were written are others now: somebody changed them between the reading and the
 * writing, and may have written the newer row first.
 */
export function changed(written: readonly DeviceWithPath[], now: readonly DeviceWithPath[]): string[] {
  const current = new Map(now.map((device) => [device.id, device]));
  return written
    .filter((device) => {
      const its = current.get(device.id);
      return (
        its === undefined ||
        its.blockedAt !== device.blockedAt ||
        its.groupPath !== device.groupPath ||
        its.membershipRevision !== device.membershipRevision
      );
    })
    .map(({ id }) => id);
}
