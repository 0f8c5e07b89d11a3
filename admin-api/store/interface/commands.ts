/** Commands and their expansion into executions. */
import type { Command, Page, PageRequest, StateCounts, TimeSpan } from '../records.ts';
import type { ExecutionKey } from './executions.ts';

export interface NewCommand extends Omit<Command, 'expanded' | 'cancelRequestedAt' | 'finishedAt'> {
  idempotency?: { key: string; bodyHash: Uint8Array };
}

/** The span is of `issuedAt`. */
export interface CommandFilter extends TimeSpan {
  type?: string;
  /** `open`: not every execution is final. */
  state?: 'open' | 'finished';
  /** Commands with an execution on this device. */
  device?: string;
}

/**
 * The idempotency key was accepted before from the same creator, for the command named: `existing` with the
 * same body, `conflict` with another one.
 */
export type KeyInUse = { existing: string } | { conflict: string };

/**
 * Through which worker and session each device can be reached now; who is not named cannot, or has no room.
 */
export type Routes = ReadonlyMap<string, { incarnation: string; session: number }>;

export interface Commands {
  create(command: NewCommand): Promise<{ created: true } | KeyInUse>;
  /**
   * `create` and `expand` of commands that name their devices, in one go: for each either the devices it is
   * queued for, those it is sent to, and for how many it was canceled at once, or why it was not made: the
   * devices that are not recorded, or else an idempotency key in use, be it by one earlier in the list. A
   * device that two of the commands name is sent neither.
   */
  createListed(
    commands: readonly (NewCommand & { target: { devices: string[] } })[],
    now: number,
    routes?: Routes,
  ): Promise<{
    answers: ({ queued: string[]; sent: string[]; canceled: number } | { unknown: string[] } | KeyInUse)[];
    superseded: ExecutionKey[];
  }>;
  get(id: string): Promise<Command | null>;
  getMany(ids: readonly string[]): Promise<Command[]>;
  list(filter: CommandFilter, page: PageRequest): Promise<Page<Command>>;
  counts(ids: readonly string[]): Promise<Map<string, StateCounts>>;
  /** Commands whose executions do not all have rows yet, oldest first. */
  unexpanded(limit: number): Promise<string[]>;
  /**
   * Makes the next `limit` execution rows of a command, in device id order, in one transaction with its
   * cursor: queued, sent at once when the device has a route and nothing queued or sent, so that nothing is
   * overtaken (`markSent` says what that means), or canceled at once when the command was canceled or the
   * device is blocked. With a collapse key, and unless it is skipped where a device is offline, supersedes
   * queued executions of older commands with the same key on these devices. Two servers calling at once do
   * not make a row twice. `queued` and `sent` are the devices with such a row now; `superseded` those
   * superseded.
   */
  expand(
    id: string,
    limit: number,
    now: number,
    routes?: Routes,
  ): Promise<{
    queued: string[];
    sent: string[];
    superseded: { command: string; device: string }[];
    done: boolean;
  }>;
  /**
   * Devices that `expand` with the same `limit` would make rows for now, or once it has come to the device
   * `after`, to find their routes; somebody else may be faster.
   */
  nextToExpand(id: string, limit: number, after?: string): Promise<string[]>;
  /** `false` for a command that is unknown or finished; asked again, the first time stays recorded. */
  requestCancel(id: string, at: number): Promise<boolean>;
  /**
   * Sets `finishedAt` of those among `ids` that are expanded and have no open execution; returns which.
   * `free` leaves out those that another transaction is changing, so that it waits for nobody.
   */
  finishIfDone(ids: readonly string[], at: number, only?: 'free'): Promise<string[]>;
  /**
   * Open commands, for the sweep that catches what `finishIfDone` missed; each call goes on where the one
   * before ended, and starts again after a page that was not full.
   */
  openIds(limit: number): Promise<string[]>;
  /** Deletes finished commands with their executions that finished before then; returns how many. */
  prune(finishedBefore: number, limit: number): Promise<number>;
}
