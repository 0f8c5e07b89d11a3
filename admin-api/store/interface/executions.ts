/** Executions: a command on one device. */
import type { ExecutionState } from '../../../protocol/index.ts';
import type { EndCause } from '../end-causes.ts';
import type { Execution, Page, PageRequest, TimeSpan } from '../records.ts';

export interface ExecutionKey {
  command: string;
  device: string;
}

export interface QueuedExecution extends ExecutionKey {
  /** The command's. */
  expiresAt: number;
  collapseKey: string | null;
}

export interface QueuedExecutions {
  due: QueuedExecution[];
  /** Devices with more queued executions than they have room for. */
  heldBack: string[];
}

/** What one batch of receipts reports about an execution, reduced to the furthest state. */
export interface Advance extends ExecutionKey {
  state: ExecutionState;
  ackedAt: number | null;
  startedAt: number | null;
  finishedAt: number | null;
  finishBy: number | null;
  percent: number | null;
  note: string | null;
  reason: string | null;
  data?: unknown;
  /** `data` is the encrypted outcome that the device sealed, reason included. */
  secret?: true;
  /** `data` is long: check that it is wanted before turning it into text. */
  longData?: boolean;
  /** The worker that brought a final state. */
  worker?: string;
}

/** The time span applies to the command's `issuedAt`. */
export interface ExecutionFilter extends TimeSpan {
  command?: string;
  device?: string;
  state?: ExecutionState;
  finished?: TimeSpan;
}

export type Clock = 'finish' | 'delivery' | 'ending';

export interface DueExecution extends ExecutionKey {
  state: ExecutionState;
  /** The moment that counts. */
  asOf: number;
  /** How often it was sent. */
  attempts: number;
  ending: EndCause | null;
  /** The device's current session, as far as is known. */
  session: { incarnation: string; since: number } | null;
  /** The incarnation through which it was last sent. */
  through: string | null;
}

export interface Executions {
  get(key: ExecutionKey): Promise<Execution | null>;
  /** `withData` includes what devices returned, which may be long; otherwise `data` is `null`. */
  list(filter: ExecutionFilter, page: PageRequest, withData?: boolean): Promise<Page<Execution>>;
  /**
   * Queued executions of these devices, oldest command first. Together with unacknowledged ones, at most
   * `perDevice` for each device.
   */
  queuedFor(devices: readonly string[], perDevice: number): Promise<QueuedExecutions>;
  /** Connected devices with queued executions, for the sweep that makes up for missed wakes. */
  connectedWithQueued(limit: number): Promise<string[]>;
  /**
   * queued -> sent, for those still queued; returns them. Two dispatchers never both get one.
   */
  markSent(
    rows: readonly (ExecutionKey & { incarnation: string; session: number })[],
    at: number,
  ): Promise<ExecutionKey[]>;
  /** sent -> queued, for those still sent through that incarnation. */
  requeue(rows: readonly ExecutionKey[], incarnation: string): Promise<ExecutionKey[]>;
  /** sent -> queued, for all that was sent to these devices in sessions up to the given one. */
  requeueSessions(rows: readonly { device: string; session: number }[]): Promise<ExecutionKey[]>;
  /** sent -> queued, for all that was sent through that incarnation; at most `limit`. */
  requeueIncarnation(incarnation: string, limit: number): Promise<ExecutionKey[]>;
  /** How many are sent and not acknowledged, by incarnation. */
  sentByIncarnation(): Promise<Map<string, number>>;
  /** Incarnations through which executions are recorded as sent. */
  incarnations(): Promise<string[]>;
  /** sent -> queued, for all that was sent before then; at most `limit`. */
  requeueSentBefore(before: number, limit: number): Promise<ExecutionKey[]>;
  /**
   * Moves open executions forward, never back: a row whose state is not further than the stored one only
   * fills in unknown times and progress. If the execution is already final, a reported end is kept as `late`.
   * `changed`: rows whose state changed. `current`: the stored state (`null`: no such execution) for every
   * row with a final `state`, and for every `acked` or `running` row whose execution is final or missing.
   * `late`: the ends that are kept as late now.
   */
  advance(rows: readonly Advance[]): Promise<{
    changed: (ExecutionKey & { state: ExecutionState })[];
    current: { report: Advance; state: ExecutionState | null }[];
    late: { ended: ExecutionState; state: ExecutionState; inTime: boolean }[];
  }>;
  /**
   * Gives a final state to those still in one of `from`; returns them with their previous state. `asOf`: the
   * moment that counted; defaults to `at`.
   */
  finish(
    rows: readonly (ExecutionKey & { asOf?: number })[],
    from: readonly ExecutionState[],
    state: ExecutionState,
    reason: string,
    at: number,
  ): Promise<(ExecutionKey & { state: ExecutionState })[]>;
  /**
   * Ends those that were never sent, as of now. Marks those that were sent and are in a state that `ending`
   * applies to: they are not sent again, and are `due` to end as of `at`. An acknowledgement removes the
   * mark, unless the cancel is by force.
   */
  end(
    rows: readonly ExecutionKey[],
    ending: EndCause,
    at: number,
  ): Promise<{ ended: ExecutionKey[]; marked: ExecutionKey[] }>;
  /**
   * When the next end is due by any clock; considers only deliver-by times above `expiredUpTo`. Costs three
   * index reads.
   */
  nextDue(expiredUpTo: number): Promise<number | null>;
  /**
   * Executions due before then, ordered by their moment, starting after `after`: by finish-by time (acked,
   * running), by deliver-by time (queued, sent), or because they are marked. Considers only deliver-by times
   * above `expiredUpTo`, which defaults to 0.
   */
  due(
    clock: Clock,
    before: number,
    after: DueExecution | null,
    limit: number,
    expiredUpTo?: number,
  ): Promise<DueExecution[]>;
  /** Open executions ordered by device and command, starting after `after`. */
  open(
    after: ExecutionKey | null,
    limit: number,
  ): Promise<(ExecutionKey & { state: ExecutionState; ackedAt: number | null })[]>;
  /** The same, but only those of these devices that were acknowledged before a moment. */
  ackedBefore(
    devices: readonly string[],
    before: number,
    after: ExecutionKey | null,
    limit: number,
  ): Promise<ExecutionKey[]>;
  /** Executions of a command in one of these states, with a device id above `after`. */
  ofCommand(
    command: string,
    states: readonly ExecutionState[],
    after: string,
    limit: number,
  ): Promise<string[]>;
  /** Open executions of a device (queued, sent, acked, running), of commands above `after`. */
  openOf(
    device: string,
    limit: number,
    after?: string,
  ): Promise<(ExecutionKey & { state: ExecutionState })[]>;
  /**
   * Supersedes (as `end` does) queued executions of these devices for which a newer command with the same
   * collapse key exists.
   */
  supersedeStale(devices: readonly string[], at: number): Promise<ExecutionKey[]>;
}
