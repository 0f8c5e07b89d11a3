/** Gateways and their settings by operators. */
import type { Gateway, Page, PageRequest } from '../records.ts';

export interface Gateways {
  get(name: string): Promise<Gateway | null>;
  /** As `Groups.getForChange`. */
  getForChange(name: string): Promise<Gateway | null>;
  list(page: PageRequest): Promise<Page<Gateway>>;
  all(): Promise<Gateway[]>;
  /** `false` if the name is taken. */
  create(gateway: Gateway): Promise<boolean>;
  /** Changes the given settings and raises the revision. */
  update(
    name: string,
    change: Partial<Pick<Gateway, 'groupId' | 'runPushServer' | 'port' | 'address' | 'connectionLimit'>>,
    at: number,
  ): Promise<Gateway | null>;
  /** Begins (`since`) or ends (`null`) a drain and raises the revision; `null` if nothing was to change. */
  setDraining(name: string, since: number | null, at: number): Promise<Gateway | null>;
  /** Succeeds once per drain, for one caller, and only while the gateway still has this revision. */
  markDrained(name: string, revision: number, at: number): Promise<boolean>;
  delete(name: string): Promise<boolean>;
}
