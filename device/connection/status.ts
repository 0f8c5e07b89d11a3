/** What a device says of itself with its heartbeats: numbered, and authenticated for the ledger (B-5). */
import {
  type Authenticated,
  type Compliance,
  encodeStatusBody,
  type StatusBody,
  statusBytes,
} from '../../protocol/index.ts';
import type { DeviceKeys } from '../executions/device-keys.ts';
import type { ServerClock } from '../executions/server-clock.ts';
import type { DeviceState } from '../storage/store.ts';

export interface DeviceStatus {
  /** Revision of the policy in force, at most 64 characters. */
  policy?: string;
  compliance?: Compliance;
}

/** What the device lends. */
export interface StatusParts {
  state: DeviceState;
  keys: DeviceKeys;
  clock: ServerClock;
  /** Puts a new one into `state`. Resolves when the newest is stored. */
  save(status?: StatusBody): Promise<void>;
  send(status: Authenticated): void;
}

export interface StatusReports {
  /** What is left out stays as it is. Throws `TypeError` for a status that the ledger would not take. */
  set(status: DeviceStatus): void;
  /** Sends the status, the stored one included, if there is any. */
  tell(parts: StatusParts): Promise<void>;
}

export type MakeStatusReports = () => StatusReports;

export const statusReports: MakeStatusReports = () => {
  let said: DeviceStatus = {};
  return {
    set(status) {
      try {
        encodeStatusBody({ number: 1, ...status });
      } catch (error) {
        throw new TypeError((error as Error).message);
      }
      said = { ...said, ...status };
    },
    async tell({ state, keys, clock, save, send }) {
      const before = state.status;
      const next = { ...before, ...said };
      const isNew = next.policy !== before?.policy || next.compliance !== before?.compliance;
      // A device whose files were restored has forgotten numbers: the floor is past them soon.
      const number = Math.max((before?.number ?? 0) + 1, clock.floor);
      // It is stored before it is sent: no number is used twice.
      await (isNew ? save({ ...next, number }) : save());
      const { status } = state;
      if (!status) return;
      const body = encodeStatusBody(status);
      const mac = await keys.mac(statusBytes(keys.deviceId, body));
      // There may be a newer one by now.
      if (state.status === status) send({ body, mac });
    },
  };
};
