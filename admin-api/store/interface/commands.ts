/** Commands and their expansion into executions. */
import type { Command, Page, PageRequest, StateCounts, TimeSpan } from '../records.ts';
import type { ExecutionKey } from './executions.ts';

export interface NewCommand extends Omit<Command, 'expanded' | 'cancelRequestedAt' | 'finishedAt'> {
  idempotency?: { key: string; bodyHash: Uint8Array };
}

/** The time span applies to `issuedAt`. */
export interface CommandFilter extends TimeSpan {
  type?: string;
  /** `open`: not every execution is final. */
  state?: 'open' | 'finished';
  /** Commands with an execution on this device. */
  device?: string;
}

/**
 * The same creator used the idempotency key before, for the named command: `existing` with the same body,
 * `conflict` with another one.
 */
export type KeyInUse = { existing: string } | { conflict: string };

/** The worker and session through which each device can be reached now; absent: none, or no room. */
export type Routes = ReadonlyMap<string, { incarnation: string; session: number }>;

export interface Commands {
  create(command: NewCommand): Promise<{ created: true } | KeyInUse>;
  /**
   * Creates and expands commands that name their devices, all at once. For each, returns the devices for
   * which it is queued, those to which it is sent, and for how many it was canceled at once. Or it returns
   * why the command was not created: unknown devices, or an idempotency key in use, even by an earlier one in
   * the list. A device that two of the commands name is sent neither.
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
  /** Commands that are not fully expanded, oldest first. */
  unexpanded(limit: number): Promise<string[]>;
  /**
   * Inserts the next `limit` execution rows of a command, ordered by device id, in one transaction with its
   * cursor. A row is canceled if the command was canceled or the device is blocked. It is sent if the device
   * has a route and nothing queued or sent that it could overtake (see `markSent`). Otherwise it is queued.
   * A collapse key supersedes queued executions of older commands with the same key on these devices, unless
   * the command skips offline devices. Two servers that call at once insert no row twice. `queued` and `sent`
   * are the devices with such a row now; `superseded` are the superseded executions.
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
   * Devices for which `expand` with the same `limit` would insert rows now, or once it has reached the device
   * `after`. For looking up their routes; another server may be faster.
   */
  nextToExpand(id: string, limit: number, after?: string): Promise<string[]>;
  /** `false` if the command is unknown or finished; a repeated request keeps the first time. */
  requestCancel(id: string, at: number): Promise<boolean>;
  /**
   * Sets `finishedAt` of those among `ids` that are expanded and have no open execution; returns them. `free`
   * skips those that another transaction is changing, so that it never waits.
   */
  finishIfDone(ids: readonly string[], at: number, only?: 'free'): Promise<string[]>;
  /**
   * Open commands, for the sweep that finds what `finishIfDone` missed. Each call continues where the
   * previous one ended, and starts over after a page that was not full.
   */
  openIds(limit: number): Promise<string[]>;
  /** Deletes commands that finished before then, with their executions; returns how many. */
  prune(finishedBefore: number, limit: number): Promise<number>;
}
