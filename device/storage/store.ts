/** What a device must not forget: its identity, its gateways, and its executions. */
import type {
  CommandOrder,
  Encrypted,
  GatewayAddress,
  GroupKeyName,
  ReportableState,
  SignedOrder,
  SignedServerKeys,
  StatusBody,
} from '../../protocol/index.ts';
import type { DeviceKey } from '../platform/crypto.ts';

/** The device's identity since its enrolment. */
export interface DeviceIdentity {
  deviceId: string;
  /** The secret that it shares with its administration server, 32 bytes, and its generation. Secret. */
  secret: Uint8Array;
  generation: number;
  /** The one before it: something that was sealed with it may be on the way (K-6). Secret. */
  formerSecret?: Uint8Array;
  /** The installation it enrolled at. */
  installation?: string;
  /** Base URL it enrolled at. */
  server: string;
}

export interface DeviceState {
  /** Created before the first attempt to enrol, so that a second attempt is the same device. */
  key?: DeviceKey;
  /** Requested, and not confirmed by a membership yet (K-6): either key may be the valid one. */
  nextKey?: DeviceKey | undefined;
  identity?: DeviceIdentity;
  /** The name it enrolled with; absent once it has had another. */
  enrolledAs?: string | undefined;
  /** Those of `list` that it uses, in the order it was told; others only where it holds no list. */
  gateways: GatewayAddress[];
  /** The newest list of gateways, as it was signed (G-18). */
  list?: SignedOrder;
  /** Addresses of earlier lists that are tried after those of `gateways` (G-1). */
  older?: GatewayAddress[];
  /** Url of the gateway of the last session: the one to return to (G-2). */
  home?: string;
  /** How far gateways are, milliseconds by name, as measured last (G-10). */
  measured?: Readonly<Record<string, number>>;
  /** The newest server keys, as they were signed (K-3): the device trusts their root (E-4). */
  keys?: SignedServerKeys;
  /** The newest membership order, as it was signed (S-7). */
  membership?: SignedOrder;
  /** Keys of groups, the first to come first. Secret. */
  groupKeys?: readonly GroupKey[];
  /** What the device last said of itself, with its number (B-5). */
  status?: StatusBody;
}

export interface GroupKey extends GroupKeyName {
  /** 32 bytes. */
  key: Uint8Array;
}

/** A reported outcome; `data` is JSON. */
export interface Outcome {
  state: ReportableState;
  reason?: string;
  data?: unknown;
}

/**
 * One execution, replaced as a whole when it changes. `ackedAt` is the server's time. `withheld` is a command
 * that was canceled before it came (D-8). `runs` says how often it has begun; 1 where it is absent.
 */
export type ExecutionRecord = {
  id: string;
  issuedAt: number;
  expiresAt: number;
} & (
  | { state: 'acked' | 'running'; command: CommandOrder; ackedAt: number; runs?: number }
  /** `sealed`: the whole outcome of a secret command; `outcome` has no more than its state then. */
  | { state: 'finished'; outcome: Outcome; sealed?: Encrypted }
  /** The end, without its data: a ledger that was restored from a backup may ask for it again (D-4). */
  | { state: 'settled'; end?: SettledEnd }
  | { state: 'withheld' }
);

export type SettledEnd = Pick<Outcome, 'state' | 'reason'>;

export interface Marks {
  /** The floor of server time (S-5); it only grows; milliseconds since the epoch. */
  issuedAt: number;
}

export type JournalEntry =
  | { put: ExecutionRecord }
  /** With the signed time that allows it (D-10), so that neither is stored without the other. */
  | { forget: string; issuedAt: number }
  | { marks: Marks };

export interface StoredDevice {
  state: DeviceState;
  executions: ExecutionRecord[];
  marks: Marks;
}

/**
 * Both writing methods resolve when the data would survive a crash of the program, and reject if it might
 * not. Calls may overlap; they take effect in the order of the calls.
 */
export interface DeviceStore {
  load(): Promise<StoredDevice>;
  /** Replaces the state. */
  saveState(state: DeviceState): Promise<void>;
  /** Applies the entries in order: all of them or, after a crash, the first ones. */
  append(entries: JournalEntry[]): Promise<void>;
  close(): Promise<void>;
}

/** The journal's meaning, shared by the stores. */
export class JournalView {
  readonly executions = new Map<string, ExecutionRecord>();
  readonly marks: Marks = { issuedAt: 0 };

  apply(entry: JournalEntry): void {
    if ('put' in entry) {
      this.executions.set(entry.put.id, entry.put);
    } else if ('forget' in entry) {
      this.executions.delete(entry.forget);
      this.#raise(entry);
    } else {
      this.#raise(entry.marks);
    }
  }

  /** The shortest journal that means the same. */
  entries(): JournalEntry[] {
    const puts = [...this.executions.values()].map((put) => ({ put }));
    return [{ marks: { ...this.marks } }, ...puts];
  }

  stored(state: DeviceState): StoredDevice {
    return { state: { ...state }, executions: [...this.executions.values()], marks: { ...this.marks } };
  }

  #raise({ issuedAt }: Marks): void {
    this.marks.issuedAt = Math.max(this.marks.issuedAt, issuedAt);
  }
}
