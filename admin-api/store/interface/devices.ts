/** Devices, deleted ones included. */
import type { Compliance, MeasuredGateway, OtherInstallation } from '../../../protocol/index.ts';
import type { Copies, Device, Page, PageRequest } from '../records.ts';

export type SecretGenerations = Pick<Device, 'generation' | 'offered'>;

/**
 * A device that was deleted, or moved to another installation; `revision` is that of the membership that
 * says so.
 */
export interface DeletedDevice {
  id: string;
  revision: number;
  to?: OtherInstallation;
}

/** Devices that were deleted: each is told so, signed, when it comes back within a bounded time. */
export interface DeletedDevices {
  ofIds(ids: readonly string[]): Promise<DeletedDevice[]>;
  /** In the order of their ids. */
  scan(after: string, limit: number): Promise<DeletedDevice[]>;
  /** Forgets those deleted before, the earliest first, `limit` at most; resolves with their ids. */
  forget(before: number, limit: number): Promise<string[]>;
}

/** Public keys that nobody enrols with. Those of devices that were split stay for good. */
export interface RefusedKeys {
  /** `rotated`: its device has another key; `split`: two programs used it; `null`: it may enrol. */
  why(publicKey: Uint8Array): Promise<'rotated' | 'split' | null>;
  /** The device had this key before. Of those the newest `keep` stay, until the device is deleted. */
  rotated(device: string, publicKey: Uint8Array, at: number, keep: number): Promise<void>;
  /** When the device changed its key since then, the latest first. */
  rotations(device: string, since: number): Promise<number[]>;
}

export interface StatusReport {
  device: string;
  policy?: string;
  compliance?: Compliance;
  /** When the gateway heard it, milliseconds since the Unix epoch. */
  at: number;
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
  /** By an operator: from then on its own name for itself does not count. */
  rename(id: string, name: string): Promise<void>;
  /**
   * Names that devices give themselves, where no operator named them. Resolves with those that were changed.
   */
  applyNames(
    rows: readonly { device: string; name: string }[],
  ): Promise<{ device: string; name: string; before: string }[]>;
  /**
   * Counts a session that a copy of the device ended; after an hour without any it starts from one. Resolves
   * with them.
   */
  applyDisplaced(devices: readonly string[], at: number): Promise<Device[]>;
  /** Grows the membership revision. */
  move(id: string, groupId: string): Promise<void>;
  /** Grows the membership revision. */
  setPublicKey(id: string, publicKey: Uint8Array): Promise<void>;
  /** Grows the membership revision. */
  setBlocked(id: string, blockedAt: number | null): Promise<void>;
  /** Of those of these devices that have another secret than their first, or were given one. */
  generations(ids: readonly string[]): Promise<Map<string, SecretGenerations>>;
  /** Gives a device the next secret after the one that it says it has. */
  offerSecret(id: string, has: number): Promise<void>;
  /** These devices have used the secret of this generation: the one before counts no more. */
  takeSecrets(rows: readonly { id: string; generation: number }[]): Promise<void>;
  /**
   * Its executions stay recorded, and so does that it was deleted, or moved `to` another installation.
   * `refuseKey`: no key that it ever had is to enrol again.
   */
  delete(id: string, at: number, how?: { to?: OtherInstallation; refuseKey?: boolean }): Promise<boolean>;
  setCopies(id: string, copies: Copies, clonedAt: number | null): Promise<void>;
  /** Nothing is known of copies any more. */
  forgetCopies(id: string): Promise<void>;
  /** Ids of the cloned ones. */
  cloned(): Promise<string[]>;
  /**
   * Applies connects and disconnects. A connect counts only when its session is larger than the one on
   * record, a disconnect when it is at least as large, so late and repeated reports change nothing.
   * `connected`: devices that have a newer session now, also those recorded as connected before;
   * `disconnected`: devices that had one and have none now.
   */
  applySessions(changes: readonly SessionChange[]): Promise<{ connected: string[]; disconnected: string[] }>;
  /**
   * What devices said of themselves at `at`; an earlier report than the one stored changes nothing. Returns
   * the devices of which something changed.
   */
  applyStatus(rows: readonly StatusReport[]): Promise<string[]>;
  /**
   * What devices measured, with the text that balancing counts them by. Rows that say the same already are
   * not written.
   */
  applyMeasures(
    rows: readonly { device: string; near: string; measured: MeasuredGateway[] }[],
  ): Promise<void>;
  /** Incarnations that devices are recorded as connected through. */
  incarnations(): Promise<string[]>;
  /** Devices recorded as connected through that incarnation, marked disconnected; at most `limit`. */
  disconnectIncarnation(incarnation: string, at: number, limit: number): Promise<string[]>;
  /** For projecting the directory: devices with an id above `after`, with the path of their group. */
  scan(after: string, limit: number): Promise<(Device & { groupPath: string })[]>;
  /** The same for some. */
  withPaths(ids: readonly string[]): Promise<(Device & { groupPath: string })[]>;
  /** Where these devices belong, and where they last connected. */
  places(ids: readonly string[]): Promise<DevicePlace[]>;
  /**
   * Devices recorded as connected, by their own group, gateway and what they measured; `groupPath` is that of
   * the group.
   */
  placements(): Promise<
    { groupId: string; groupPath: string; gateway: string; near: string; devices: number }[]
  >;
  /**
   * Ids above `after`, in order, of devices connected to the gateway, no later than `before`, that are in
   * this very group and measured alike.
   */
  connectedIn(
    gateway: string,
    of: { groupId: string; near: string },
    page: { after: string; before: number; limit: number },
  ): Promise<string[]>;
  /** Enrolled devices by their own group; groups without any are left out. */
  countByGroup(): Promise<{ groupId: string; groupPath: string; devices: number }[]>;
  /** Devices connected per gateway. */
  connectedByGateway(): Promise<Record<string, number>>;
  /**
   * Devices whose last session was on that gateway, ended by being told to go elsewhere, and that are nowhere
   * since.
   */
  sentAwayFrom(gateway: string, since: number): Promise<number>;
}
