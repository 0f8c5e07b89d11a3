/** Writes the whole directory from SQL, and tracks what changes in SQL meanwhile. */
import type { DirectoryDevice, DirectoryWriting } from '../../bus/bus.ts';
import type { Device } from '../store/records.ts';
import type { DeletedDevice, Store } from '../store/store.ts';

export type DeviceWithPath = Device & { groupPath: string };

const CHUNK = 1000;

export interface WriterParts {
  store: Pick<Store, 'devices' | 'deletedDevices'>;
  entry(device: DeviceWithPath): DirectoryDevice;
  deletion(device: DeletedDevice): DirectoryDevice;
  /** Runs one read of rows and their write at a time, changes included. */
  inTurn<T>(work: () => Promise<T>): Promise<T>;
  /** SQL has newer rows of these devices than were written. */
  stale(ids: readonly string[]): void;
  /** Devices to write before the directory is marked as whole. */
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
 * Which of the written rows have changed: another server changed them between the read and the write, and may
 * have written the newer row first.
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
