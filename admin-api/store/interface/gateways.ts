/** Gateways and operators' settings of them. */
import type { Gateway, Page, PageRequest } from '../records.ts';

export interface Gateways {
  get(name: string): Promise<Gateway | null>;
  /** As `Groups.getForChange`. */
  getForChange(name: string): Promise<Gateway | null>;
  list(page: PageRequest): Promise<Page<Gateway>>;
  all(): Promise<Gateway[]>;
  /** `false` when the name is taken. */
  create(gateway: Gateway): Promise<boolean>;
  /** Changes the given settings and grows the revision. */
  update(
    name: string,
    change: Partial<Pick<Gateway, 'groupId' | 'runPushServer' | 'port' | 'address' | 'connectionLimit'>>,
    at: number,
  ): Promise<Gateway | null>;
  /**
   * Begins (`since`) or ends (`null`) draining and grows the revision; `null` when there was nothing to
   * change.
   */
  setDraining(name: string, since: number | null, at: number): Promise<Gateway | null>;
  /** Once per drain: `true` for the caller that recorded it, while the revision is still that one. */
  markDrained(name: string, revision: number, at: number): Promise<boolean>;
  delete(name: string): Promise<boolean>;
}
