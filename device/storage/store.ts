/** What a device must not forget: who it is, where to go, and what became of its executions. */
import type {
  CommandOrder,
  GatewayAddress,
  GroupKeyName,
  ReportableState,
  SignedServerKeys,
} from '../../protocol/index.ts';
import type { DeviceKey } from '../platform/crypto.ts';

/** Who the device is, since its enrolment. */
export interface DeviceIdentity {
  deviceId: string;
  /** What it shares with its administration server, 32 bytes, and which one in turn it is. Secret. */
  secret: Uint8Array;
  generation: number;
  /** The installation it enrolled at. */
  installation?: string;
  /** Base URL it enrolled at. */
  server: string;
}

export interface DeviceState {
  /** Made before enrolling is tried, so that a second try is known to be the same device. */
  key?: DeviceKey;
  /** Asked for, and not confirmed by a membership yet (K-6): either may be the one that counts. */
  nextKey?: DeviceKey | undefined;
  identity?: DeviceIdentity;
  /** The name it enrolled with; absent once it had another. */
  enrolledAs?: string | undefined;
  gateways: GatewayAddress[];
  /** Addresses of earlier lists that are tried after those of `gateways` (G-1). */
  older?: GatewayAddress[];
  /** Url of the gateway of the last session: the one to return to (G-2). */
  home?: string;
  /** How far gateways are, milliseconds by name, as measured last (G-10). */
  measured?: Readonly<Record<string, number>>;
  /** The newest server keys, as they were signed (K-3): the device trusts their root (E-4). */
  keys?: SignedServerKeys;
  /** The newest membership order, as it was signed (S-7). */
  membership?: { body: Uint8Array; sig: Uint8Array };
  /** Keys of groups, the first to come first. Secret. */
  groupKeys?: readonly GroupKey[];
}

export interface GroupKey extends GroupKeyName {
  /** 32 bytes. */
  key: Uint8Array;
}

/** An outcome as it is reported; `data` is JSON. */
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
  /** `secret`: the outcome is that of a secret command. */
  | { state: 'finished'; outcome: Outcome; secret?: true }
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
  /** With the signed time that allows it (D-10), so that the one is never recorded without the other. */
  | { forget: string; issuedAt: number }
  | { marks: Marks };

export interface StoredDevice {
  state: DeviceState;
  executions: ExecutionRecord[];
  marks: Marks;
}

/**
 * Both writing methods resolve when what they were given would survive the loss of the program, and reject
 * when it may not. Calls may overlap; their effects are in the order of the calls.
 */
export interface DeviceStore {
  load(): Promise<StoredDevice>;
  /** Replaces the state. */
  saveState(state: DeviceState): Promise<void>;
  /** Applies the entries, in order, all or (after a crash) a beginning of them. */
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
