/** Devices, deleted ones included. */
import type { Compliance, MeasuredGateway, OtherInstallation } from '../../../protocol/index.ts';
import type { Copies, Device, Page, PageRequest } from '../records.ts';

export type SecretGenerations = Pick<Device, 'generation' | 'offered'>;

/** A device that was deleted or moved to another installation; its last membership has this `revision`. */
export interface DeletedDevice {
  id: string;
  revision: number;
  to?: OtherInstallation;
}

/** Deleted devices. A device that returns within a bounded time gets a signed membership that says so. */
export interface DeletedDevices {
  ofIds(ids: readonly string[]): Promise<DeletedDevice[]>;
  /** Ordered by id. */
  scan(after: string, limit: number): Promise<DeletedDevice[]>;
  /** Forgets at most `limit` devices that were deleted before, earliest first; resolves with their ids. */
  forget(before: number, limit: number): Promise<string[]>;
}

/** Public keys that nobody may enrol with. Those of split devices stay for good. */
export interface RefusedKeys {
  /** `rotated`: its device has another key; `split`: two programs used it; `null`: it may enrol. */
  why(publicKey: Uint8Array): Promise<'rotated' | 'split' | null>;
  /** Records an earlier key of the device. The newest `keep` stay until the device is deleted. */
  rotated(device: string, publicKey: Uint8Array, at: number, keep: number): Promise<void>;
  /** When the device has changed its key since, latest first. */
  rotations(device: string, since: number): Promise<number[]>;
}

export interface StatusReport {
  device: string;
  /** It grows with every status of the device (B-5). */
  number: number;
  policy?: string;
  compliance?: Compliance;
}

export interface DevicePlace {
  id: string;
  groupPath: string;
  /** Of its newest session; `null` before the first. */
  gateway: string | null;
  /** Its number; 0 before the first. */
  session: number;
  connectedAt: number | null;
}

/** What its membership says. */
export type DeviceMembership = Pick<Device, 'id' | 'publicKey' | 'blockedAt' | 'membershipRevision'> & {
  groupPath: string;
};

export interface DeviceFilter {
  /** The group with its subgroups. */
  group?: string;
  state?: 'connected' | 'disconnected' | 'blocked';
  gateway?: string;
  /** Part of the name or id, case-insensitive. */
  text?: string;
}

/** What a worker reported, already reduced to the newest per device. */
export interface SessionChange {
  device: string;
  session: number;
  connected?: {
    incarnation: string;
    worker: string;
    gateway: string;
    address: string;
    software: string;
    caps: string[];
  };
  disconnected?: { code: number; reason: string };
  at: number;
}

export interface Devices {
  get(id: string): Promise<Device | null>;
  /** As `Groups.getForChange`. */
  getForChange(id: string): Promise<Device | null>;
  getMany(ids: readonly string[]): Promise<Device[]>;
  byPublicKey(publicKey: Uint8Array): Promise<Device | null>;
  list(filter: DeviceFilter, page: PageRequest): Promise<Page<Device>>;
  count(filter: DeviceFilter): Promise<number>;
  create(device: {
    id: string;
    groupId: string;
    name: string;
    platform: string;
    software: string;
    publicKey: Uint8Array;
    createdAt: number;
  }): Promise<void>;
  /** Renames the device for an operator; from then on, names that it gives itself do not count. */
  rename(id: string, name: string): Promise<void>;
  /**
   * Takes names that devices give themselves, unless an operator named them. Resolves with the changed ones.
   */
  applyNames(
    rows: readonly { device: string; name: string }[],
  ): Promise<{ device: string; name: string; before: string }[]>;
  /** Counts sessions that a copy ended; an hour without any resets the count. Resolves with the devices. */
  applyDisplaced(devices: readonly string[], at: number): Promise<Device[]>;
  /** Raises the membership revision. */
  changeGroup(id: string, groupId: string): Promise<void>;
  /** Raises the membership revision. */
  setPublicKey(id: string, publicKey: Uint8Array): Promise<void>;
  /** Raises the membership revision. */
  setBlocked(id: string, blockedAt: number | null): Promise<void>;
  /** The secrets of those devices that have, or were given, another one than their first. */
  generations(ids: readonly string[]): Promise<Map<string, SecretGenerations>>;
  /** Offers a device the secret that follows the one it says it has. */
  offerSecret(id: string, has: number): Promise<void>;
  /** Records that devices used the secret of this generation: the previous one is no longer valid. */
  takeSecrets(rows: readonly { id: string; generation: number }[]): Promise<void>;
  /**
   * Keeps its executions, and the record that it was deleted or moved `to` another installation.
   * `refuseKey`: none of its keys may enrol again.
   */
  delete(id: string, at: number, how?: { to?: OtherInstallation; refuseKey?: boolean }): Promise<boolean>;
  setCopies(id: string, copies: Copies, clonedAt: number | null): Promise<void>;
  /** Forgets what is known about copies. */
  forgetCopies(id: string): Promise<void>;
  /** Ids of cloned devices. */
  cloned(): Promise<string[]>;
  /**
   * Applies connects and disconnects. A connect counts only if its session is larger than the stored one, a
   * disconnect if it is at least as large. So late and repeated reports change nothing. `connected`: devices
   * that now have a newer session, even if they were connected before. `disconnected`: devices that had a
   * session and now have none.
   */
  applySessions(changes: readonly SessionChange[]): Promise<{ connected: string[]; disconnected: string[] }>;
  /**
   * Stores what devices reported about themselves; only a larger number than the stored one counts. Returns
   * the devices for which it does.
   */
  applyStatus(rows: readonly StatusReport[]): Promise<string[]>;
  /** Stores what devices measured, with the text by which balancing counts them. Skips unchanged rows. */
  applyMeasures(
    rows: readonly { device: string; near: string; measured: MeasuredGateway[] }[],
  ): Promise<void>;
  /** Incarnations through which devices are recorded as connected. */
  incarnations(): Promise<string[]>;
  /** Marks at most `limit` devices as disconnected that are connected through this incarnation. */
  disconnectIncarnation(incarnation: string, at: number, limit: number): Promise<string[]>;
  /** For the directory: devices with an id above `after`, with the path of their group. */
  scan(after: string, limit: number): Promise<(Device & { groupPath: string })[]>;
  /** The same for some. */
  withPaths(ids: readonly string[]): Promise<(Device & { groupPath: string })[]>;
  /** For many at once: a fraction of the columns. */
  memberships(ids: readonly string[]): Promise<DeviceMembership[]>;
  /** The groups of these devices, and where they last connected. */
  places(ids: readonly string[]): Promise<DevicePlace[]>;
  /** Counts connected devices by their own group, gateway and measurements; `groupPath` is the group's. */
  placements(): Promise<
    { groupId: string; groupPath: string; gateway: string; near: string; devices: number }[]
  >;
  /**
   * Ids above `after`, in order, of devices that connected to the gateway no later than `before`, are
   * directly in this group, and measured alike.
   */
  connectedIn(
    gateway: string,
    of: { groupId: string; near: string },
    page: { after: string; before: number; limit: number },
  ): Promise<string[]>;
  /** Counts enrolled devices by their own group; leaves out groups without any. */
  countByGroup(): Promise<{ groupId: string; groupPath: string; devices: number }[]>;
  /** Devices connected per gateway. */
  connectedByGateway(): Promise<Record<string, number>>;
  /** Devices that the gateway sent elsewhere at the end of their last session, and that have not arrived. */
  sentAwayFrom(gateway: string, since: number): Promise<number>;
}
