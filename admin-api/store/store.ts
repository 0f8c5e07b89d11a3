/**
 * The store keeps everything that must outlive a process, in SQLite or PostgreSQL. One implementation serves
 * both, in a common subset of SQL; `test/admin-api/store-contract.ts` tests both databases.
 *
 * Every method is one transaction, unless it is called on the store that `transaction` hands out. A method
 * that cannot reach the database rejects with `StoreUnavailable` and leaves nothing half done.
 */
import type { GroupKeyName } from '../../protocol/index.ts';
import type { EndCause } from './end-causes.ts';
import type { ApiTokens, Audit, EnrolmentTokens } from './interface/access.ts';
import type { Commands } from './interface/commands.ts';
import type { DeletedDevices, Devices, RefusedKeys } from './interface/devices.ts';
import type { Events, Meta } from './interface/events.ts';
import type { Executions } from './interface/executions.ts';
import type { Gateways } from './interface/gateways.ts';
import type { GroupKeys, Groups } from './interface/groups.ts';
import type { Tunnels } from './interface/tunnels.ts';
import type { Authorities, GatewayCertificates, JoinTokens } from './pki-records.ts';
import type { CommandTarget } from './records.ts';

export type * from './interface/access.ts';
export type * from './interface/commands.ts';
export type * from './interface/devices.ts';
export type * from './interface/events.ts';
export type * from './interface/executions.ts';
export type * from './interface/gateways.ts';
export type * from './interface/groups.ts';
export type * from './interface/tunnels.ts';

export class StoreUnavailable extends Error {
  override readonly name = 'StoreUnavailable';
}

export interface Store {
  readonly kind: 'sqlite' | 'postgres';
  readonly groups: Groups;
  readonly groupKeys: GroupKeys;
  readonly devices: Devices;
  readonly deletedDevices: DeletedDevices;
  readonly refusedKeys: RefusedKeys;
  readonly enrolmentTokens: EnrolmentTokens;
  readonly apiTokens: ApiTokens;
  readonly gateways: Gateways;
  readonly commands: Commands;
  readonly executions: Executions;
  readonly tunnels: Tunnels;
  readonly authorities: Authorities;
  readonly gatewayCertificates: GatewayCertificates;
  readonly joinTokens: JoinTokens;
  readonly events: Events;
  readonly audit: Audit;
  readonly meta: Meta;
  /** Opens the database and migrates it; refuses one that a newer version migrated. */
  start(): Promise<void>;
  /** Idempotent. */
  stop(): Promise<void>;
  /** Attempts since the start that lost (deadlocks, serialisation failures) and were repeated. */
  conflicts(): number;
  /**
   * All or nothing. Calls on the store that `work` gets join the transaction, nested `transaction` calls
   * included; calls on this store from inside `work` are refused. `work` runs again if the transaction loses
   * against another one.
   */
  transaction<T>(work: (tx: Store) => Promise<T>): Promise<T>;
}

export type { CommandTarget, EndCause, GroupKeyName };
