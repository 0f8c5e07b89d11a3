import type { Logger } from 'pino';
import type { Device } from '../store/records.ts';
import type { Store } from '../store/store.ts';

/** Carries changes in SQL to the bus's directory; what cannot be written now is written again until it is. */
export interface DirectoryChanges {
  /** Rejects with `BusUnavailable`, and repeats by itself all the same. */
  devicesChanged(ids: readonly string[]): Promise<void>;
  devicesChangedSoon(ids: readonly string[]): void;
  gatewaysChangedSoon(): void;
  membershipFor(device: MembershipSubject): { body: Uint8Array; sig: Uint8Array };
  membershipFrame(device: MembershipSubject): Uint8Array;
}

export interface MembershipSubject {
  id: string;
  groupPath: string;
  membershipRevision: number;
}

/** Reaches devices that are connected at this moment; promises nothing. */
export interface DeviceMail {
  sendFrame(devices: readonly string[], frame: Uint8Array): Promise<void>;
  close(devices: readonly string[], code: number, reason: string): Promise<void>;
}

/** What every desk works with. A desk changes SQL with its audit entry and event first, and tells the others after. */
export interface DeskParts {
  store: Store;
  directory: DirectoryChanges;
  mail: DeviceMail;
  /** Told that events were appended. */
  hub: { notify(): void };
  now: () => number;
  log: Logger;
}

/** One change: its audit entry, and the event when the ledger is to tell of it. To be called inside its transaction. */
export async function recordChange(
  tx: Store,
  at: number,
  actor: string,
  action: string,
  subject: string,
  detail: Record<string, unknown>,
  event?: Record<string, unknown>,
): Promise<void> {
  await tx.audit.append({ at, actor, action, subject, detail });
  if (event) await tx.events.append([{ at, type: action, data: event }]);
}

/** Has the directory written before going on, and goes on when it cannot be: the projector repeats it. */
export async function writeDirectory(parts: DeskParts, ids: readonly string[]): Promise<void> {
  try {
    await parts.directory.devicesChanged(ids);
  } catch (error) {
    parts.log.warn({ err: error, devices: ids.length }, 'directory not written yet; it will be repeated');
  }
}

/** Puts new memberships into the directory and hands them to those of the devices that are connected. */
export async function renewMemberships(parts: DeskParts, ids: readonly string[]): Promise<void> {
  await writeDirectory(parts, ids);
  const devices: (Device & { groupPath: string })[] = await parts.store.devices.withPaths(ids);
  const connected = devices.filter((device) => device.connected);
  for (let start = 0; start < connected.length; start += 50) {
    await Promise.all(
      connected
        .slice(start, start + 50)
        .map((device) => parts.mail.sendFrame([device.id], parts.directory.membershipFrame(device))),
    );
  }
}
