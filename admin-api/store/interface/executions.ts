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
  /** Devices that have more queued than they have room for. */
  heldBack: string[];
}

/** What devices said of one execution in one batch of receipts, reduced to the furthest state. */
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
  /** `data` is what the device sealed, reason included, encrypted. */
  secret?: true;
  /** It takes a while to write `data` down: that is worth a look whether it is wanted. */
  longData?: boolean;
  /** Of an end: the worker that brought it. */
  worker?: string;
}

/** The span is of the command's `issuedAt`. */
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
  /** The session the device has, as far as is known. */
  session: { incarnation: string; since: number } | null;
  /** The incarnation it was last sent through. */
  through: string | null;
}

export interface Executions {
  get(key: ExecutionKey): Promise<Execution | null>;
  /** `withData`: with what devices returned, which may be long; otherwise `data` is `null`. */
  list(filter: ExecutionFilter, page: PageRequest, withData?: boolean): Promise<Page<Execution>>;
  /**
   * Queued executions of these devices, oldest command first: so many that with those sent and not
   * acknowledged a device has at most `perDevice`.
   */
  queuedFor(devices: readonly string[], perDevice: number): Promise<QueuedExecutions>;
  /** Devices recorded as connected that have something queued; the sweep that catches missed wakes. */
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
  /** sent -> queued, for whatever was sent to these devices in sessions up to the one given. */
  requeueSessions(rows: readonly { device: string; session: number }[]): Promise<ExecutionKey[]>;
  /** sent -> queued, for whatever was sent through that incarnation; at most `limit`. */
  requeueIncarnation(incarnation: string, limit: number): Promise<ExecutionKey[]>;
  /** Sent and not acknowledged, by the incarnation it went through. */
  sentByIncarnation(): Promise<Map<string, number>>;
  /** Incarnations that something recorded as sent went through. */
  incarnations(): Promise<string[]>;
  /** sent -> queued, for whatever was sent before then; at most `limit`. */
  requeueSentBefore(before: number, limit: number): Promise<ExecutionKey[]>;
  /**
   * Moves open executions forward, never back: a row whose state is not further than the recorded one
   * changes nothing but the times and progress that were unknown. On an execution that is already final, a
   * reported end is kept as `late`. `changed`: rows whose state changed. `current`: for every row with a
   * final `state` and for every `acked` or `running` row that found the execution final or missing, the state
   * recorded now (`null`: no such execution). `late`: what is kept as late now.
   */
  advance(rows: readonly Advance[]): Promise<{
    changed: (ExecutionKey & { state: ExecutionState })[];
    current: (ExecutionKey & { state: ExecutionState | null })[];
    late: { ended: ExecutionState; state: ExecutionState; inTime: boolean }[];
  }>;
  /**
   * Gives a final state to those still in one of `from`; returns them with the state they were in. `asOf`:
   * the moment that counted; `at` when absent.
   */
  finish(
    rows: readonly (ExecutionKey & { asOf?: number })[],
    from: readonly ExecutionState[],
    state: ExecutionState,
    reason: string,
    at: number,
  ): Promise<(ExecutionKey & { state: ExecutionState })[]>;
  /**
   * Ends those that were never sent, as of now, and marks those that were and are in a state that `ending`
   * counts for: they are sent no more, and are `due` to end as of `at`. An acknowledgement takes the mark
   * away again, unless it was made by force.
   */
  end(
    rows: readonly ExecutionKey[],
    ending: EndCause,
    at: number,
  ): Promise<{ ended: ExecutionKey[]; marked: ExecutionKey[] }>;
  /**
   * When the next end is due by any clock; of deliver-by times only those above `expiredUpTo`. Costs three
   * reads of an index.
   */
  nextDue(expiredUpTo: number): Promise<number | null>;
  /**
   * What is due before then, in the order of its moment, from the one after `after` on: by the finish-by time
   * (acked, running), the deliver-by time (queued, sent) or because it is marked. Of deliver-by times only
   * those above `expiredUpTo`; 0 when absent.
   */
  due(
    clock: Clock,
    before: number,
    after: DueExecution | null,
    limit: number,
    expiredUpTo?: number,
  ): Promise<DueExecution[]>;
  /** Open executions in the order of their devices and commands, from the one after `after` on. */
  open(
    after: ExecutionKey | null,
    limit: number,
  ): Promise<(ExecutionKey & { state: ExecutionState; ackedAt: number | null })[]>;
  /** Of those the ones of these devices that were acknowledged before a moment. */
  ackedBefore(
    devices: readonly string[],
    before: number,
    after: ExecutionKey | null,
    limit: number,
  ): Promise<ExecutionKey[]>;
  /** Executions of a command in one of these states with a device id above `after`. */
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
