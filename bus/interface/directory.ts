/** The directory: what a gateway must know to admit a device. */
import type { Edition, SignedPass, SignedServerKeys } from '../../protocol/index.ts';

export interface DirectoryDevice {
  id: string;
  /** Raw Ed25519 public key, 32 bytes. */
  publicKey: Uint8Array;
  /** Whether it may connect; of those deleted, what is kept says so for a bounded time. */
  state: 'active' | 'blocked' | 'deleted';
  /** Ids of the groups the device is in, root first. */
  groups: string[];
  /** Encoded `order` frame with the device's signed membership, and its edition. */
  membership: Uint8Array;
  membershipEdition: Edition;
}

/** Settings of a gateway (distribution point) that an operator controls. */
export interface GatewaySettings {
  /** Group it serves, with all its subgroups. */
  group: string;
  runPushServer: boolean;
  /** Push server port, 1 to 65535. */
  port: number;
  /** Address for remote hosts: the URL devices dial, for example `wss://gw1.example.net:13295`. */
  address: string;
  connectionLimit: number;
}

/** How devices reach a gateway: the port it listens on, and the URL they dial. */
export interface ServedAddress {
  port: number;
  address: string;
}

export interface DirectoryGateway extends GatewaySettings {
  name: string;
  /**
   * The address that devices get, whatever the settings say: the one where a worker last listened. `null` if
   * none ever did; such a gateway is in no list.
   */
  told: ServedAddress | null;
  /** Former addresses. Devices that still come there get the list that names `told`, and are sent there. */
  former: ServedAddress[];
  /** Grows with every change of the settings; 0 for one that is not registered. */
  revision: number;
  /** Its pass for devices (protocol rule S-9); absent for a gateway that is not registered. */
  pass?: SignedPass;
  /** The installation's server keys, for devices (K-5): those of earlier roots, then the newest. */
  keys?: readonly SignedServerKeys[];
  /** Certificates issued before this must be renewed, milliseconds since the Unix epoch. */
  renewAfter?: number;
  /** Why it is not registered and serves nobody; it is listed so that the gateway itself can learn it. */
  refused?: string;
  /** An operator drains it: it admits nobody and sends its devices away until the drain is canceled. */
  draining: boolean;
  /** For `rankGateways`: its free capacity, in steps; 0 while it is down, full, off or draining. */
  weight: number;
}

/** The signed list of gateways of one group (protocol rule G-18). */
export interface DirectoryList {
  group: string;
  /** Encoded `order` frame. */
  frame: Uint8Array;
}

/** State of the directory; cheap to query. */
export interface DirectoryState {
  /** New with every full write; `null` while the directory is incomplete. */
  generation: string | null;
  /** Entries in it. */
  devices: number;
  /** An administration server is writing all of it. */
  writing: boolean;
  /** Why it is incomplete. */
  problem?: string;
  /** Its contents changed in a way that no program of the installation causes: nothing in it is valid. */
  altered?: true;
}

/**
 * A full write of the directory. The previous contents stay valid until `finish`; `putDevices` and
 * `removeDevices` change both in the meantime. Both methods reject with `DirectoryIncomplete` as soon as
 * written data is gone or somebody else writes: then start a new full write.
 */
export interface DirectoryWriting {
  put(devices: readonly DirectoryDevice[]): Promise<void>;
  /**
   * Verifies that everything is there and marks the directory as complete, in one step; resolves with the
   * generation.
   */
  finish(): Promise<string>;
}

/** Complete or absent: a lost part never looks like a missing device. */
export interface Directory {
  look(): Promise<DirectoryState>;
  /**
   * Begins a full write. `null`: another administration server is writing. `clear`: the present contents are
   * invalid.
   */
  begin(options?: { clear?: boolean }): Promise<DirectoryWriting | null>;
  /**
   * States that an administration server maintains this generation. Gateways reject unknown devices
   * permanently only within `ttlMs` of this: a gateway cut off together with a part of Redis does not know
   * devices enrolled since.
   */
  vouch(generation: string, ttlMs: number): Promise<void>;
  /**
   * Inserts or replaces these. Does nothing while there is no directory and no write: the next full write
   * reads them from the database.
   */
  putDevices(devices: readonly DirectoryDevice[]): Promise<void>;
  removeDevices(ids: readonly string[]): Promise<void>;
  /**
   * In order; `null` for a device that is not in the directory. Rejects with `DirectoryIncomplete` when the
   * answer is unknown: when a device is missing or not active, and the directory is incomplete, unmaintained,
   * or another installation's.
   */
  devices(ids: readonly string[]): Promise<(DirectoryDevice | null)[]>;
  /** Replaces the whole list in one step. */
  setGateways(gateways: readonly DirectoryGateway[]): Promise<void>;
  putGateways(gateways: readonly DirectoryGateway[]): Promise<void>;
  removeGateway(name: string): Promise<void>;
  /** Rejects with `DirectoryIncomplete` while the list is not written, lost, or another installation's. */
  gateways(): Promise<DirectoryGateway[]>;
  /** Inserts or replaces these. */
  putLists(lists: readonly DirectoryList[]): Promise<void>;
  /**
   * States that the lists of these groups are there, under a mark that changes when one of them does. Lists
   * of other groups are removed.
   */
  markLists(mark: string, groups: ReadonlySet<string>): Promise<void>;
  /** The current mark; `null` while the lists are not written, lost, or another installation's. */
  listsMark(): Promise<string | null>;
  /** In order; `null` for a group without one. */
  lists(groups: readonly string[]): Promise<(DirectoryList | null)[]>;
  /**
   * Calls `onChange` soon after gateways were put or removed, or lists marked; hints may be lost, so poll as
   * well.
   */
  onGatewaysChange(onChange: () => void): Promise<() => Promise<void>>;
}

/** A device cannot be looked up: the directory is absent, incomplete, or another installation's. */
export class DirectoryIncomplete extends Error {
  override readonly name = 'DirectoryIncomplete';
}
