/** Groups of devices, and their keys for secret commands. */
import type { GroupKeyName } from '../../../protocol/index.ts';
import type { Group, Page, PageRequest } from '../records.ts';

export interface Groups {
  get(id: string): Promise<Group | null>;
  /** Reads and locks it: nobody else changes it until the transaction ends. */
  getForChange(id: string): Promise<Group | null>;
  list(page: PageRequest & { parent?: string; text?: string }): Promise<Page<Group & { devices: number }>>;
  /** Those with an id above `after`, in order, at most `limit`. */
  scan(after: string, limit: number): Promise<Pick<Group, 'id' | 'path'>[]>;
  /** Names are unique among siblings: a taken name is a conflict, here and below. */
  create(group: { id: string; parentId: string; name: string; createdAt: number }): Promise<Group>;
  rename(id: string, name: string): Promise<void>;
  /**
   * Rewrites the subtree's paths, and raises the membership revision of every device in it. `name` renames.
   */
  move(id: string, parentId: string, name?: string): Promise<void>;
  /** Refuses a group that has subgroups, devices, a gateway or a usable enrolment token. */
  delete(id: string): Promise<'deleted' | 'not-empty' | 'unknown'>;
}

export interface StoredGroupKey extends GroupKeyName {
  /** Encrypted by the caller that made it. */
  sealedKey: string;
}

/**
 * Keys of groups for secret commands. A key goes stale, in the same transaction, when a device that may hold
 * it is blocked, is deleted, or leaves the group.
 */
export interface GroupKeys {
  /** The newest key of the group in this epoch; if it is stale or missing, a new one that `make` seals. */
  current(
    group: string,
    epoch: number,
    at: number,
    make: (name: GroupKeyName) => string,
  ): Promise<StoredGroupKey>;
  /** The keys that exist, stale ones included. */
  ofNames(names: readonly GroupKeyName[]): Promise<StoredGroupKey[]>;
  /**
   * Call this first in a transaction in which a device leaves a group. Until it ends nobody makes or picks a
   * key, so the device gets none that stays valid afterwards.
   */
  hold(): Promise<void>;
  /** Marks the keys of all groups of the device as stale: others may have what it holds. */
  left(device: string): Promise<void>;
}
