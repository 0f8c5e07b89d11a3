/** Groups of devices, and their keys for secret commands. */
import type { GroupKeyName } from '../../../protocol/index.ts';
import type { Group, Page, PageRequest } from '../records.ts';

export interface Groups {
  get(id: string): Promise<Group | null>;
  /** In a transaction that will change it: nobody else changes it until the transaction ends. */
  getForChange(id: string): Promise<Group | null>;
  list(page: PageRequest & { parent?: string; text?: string }): Promise<Page<Group & { devices: number }>>;
  /** Names are unique among siblings: a name that is taken is a conflict, here and below. */
  create(group: { id: string; parentId: string; name: string; createdAt: number }): Promise<Group>;
  rename(id: string, name: string): Promise<void>;
  /**
   * Rewrites the paths of the subtree and grows the membership revision of every device in it. `name`: a new
   * name to arrive with.
   */
  move(id: string, parentId: string, name?: string): Promise<void>;
  /** Only an empty group: no subgroups, no devices, no gateway, no usable enrolment token. */
  delete(id: string): Promise<'deleted' | 'not-empty' | 'unknown'>;
}

export interface StoredGroupKey extends GroupKeyName {
  /** Encrypted by whoever made it. */
  sealedKey: string;
}

/**
 * Keys of groups for secret commands. A key goes stale when a device that may hold it is blocked, deleted or
 * leaves the group, with that change in one transaction.
 */
export interface GroupKeys {
  /** The newest key of the group in this epoch; a new one, sealed by `make`, where that is stale or none. */
  current(
    group: string,
    epoch: number,
    at: number,
    make: (name: GroupKeyName) => string,
  ): Promise<StoredGroupKey>;
  /** Those there are, stale ones too. */
  ofNames(names: readonly GroupKeyName[]): Promise<StoredGroupKey[]>;
  /**
   * To be called first in a transaction in which a device leaves a group: until its end nobody makes or picks
   * a key, so that the device gets none that outlasts its leaving.
   */
  hold(): Promise<void>;
  /** The keys of all groups of the device go stale: what it holds may be in other hands. */
  left(device: string): Promise<void>;
}
