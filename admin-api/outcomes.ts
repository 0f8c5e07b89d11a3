import type { ExecutionState } from '../protocol/index.ts';
import type { EventHub } from './event-hub.ts';
import { END_CAUSES } from './store/end-causes.ts';
import type { EndCause, ExecutionKey, Executions, Store } from './store/store.ts';

type Change = ExecutionKey & { state: ExecutionState };

/** Most changes in one event: whoever follows the events reads many at once. */
const CHANGES_MAX = 2_000;

/** Appends the changes as events. */
export async function recordChanges(tx: Store, changes: readonly Change[], at: number): Promise<void> {
  for (let start = 0; start < changes.length; start += CHANGES_MAX) {
    await tx.events.append([changesEvent(changes.slice(start, start + CHANGES_MAX), at)]);
  }
}

export function changesEvent(changes: readonly Change[], at: number) {
  return {
    at,
    type: 'executions',
    data: { changes: changes.map(({ command, device, state }) => [command, device, state]) },
  };
}

/**
 * For executions that have just fallen back to `queued`: supersedes those that a newer command replaced
 * meanwhile, and records both changes. Returns the superseded ones.
 */
export async function recordRequeued(
  tx: Store,
  rows: readonly ExecutionKey[],
  at: number,
): Promise<ExecutionKey[]> {
  if (rows.length === 0) return [];
  const superseded = await tx.executions.supersedeStale([...new Set(rows.map((row) => row.device))], at);
  const gone = new Set(superseded.map((row) => `${row.command} ${row.device}`));
  const queued = rows.filter((row) => !gone.has(`${row.command} ${row.device}`));
  await recordChanges(
    tx,
    [
      ...queued.map((row) => ({ ...row, state: 'queued' as const })),
      ...superseded.map((row) => ({ ...row, state: 'superseded' as const })),
    ],
    at,
  );
  return superseded;
}

/** Ends executions that were never sent, marks the others, and records the change. */
export async function endAndRecord(
  tx: Store,
  keys: readonly ExecutionKey[],
  ending: EndCause,
  at: number,
): ReturnType<Executions['end']> {
  const answer = await tx.executions.end(keys, ending, at);
  const { state } = END_CAUSES[ending];
  await recordChanges(
    tx,
    answer.ended.map((row) => ({ ...row, state })),
    at,
  );
  return answer;
}

/** Marks the commands that are finished; returns them. */
async function finishCommands(
  tx: Store,
  ids: readonly string[],
  at: number,
  only?: 'free',
): Promise<string[]> {
  const done = await tx.commands.finishIfDone(ids, at, only);
  if (done.length === 0) return done;
  const counts = await tx.commands.counts(done);
  await tx.events.append(
    done.map((id) => ({ at, type: 'command.finished', data: { id, counts: counts.get(id) } })),
  );
  return done;
}

/**
 * The same within the transaction that ended executions. It may miss a command whose other executions end in
 * an uncommitted transaction. It does not wait for that: this transaction has appended events, and the other
 * one may be waiting to do so.
 */
export function finishCommandsAlong(tx: Store, ids: readonly string[], at: number): Promise<string[]> {
  return finishCommands(tx, ids, at, 'free');
}

/**
 * Ends executions for reasons other than devices' reports, and marks commands as finished once their last
 * execution is final.
 */
export class Outcomes {
  readonly #store: Store;
  readonly #hub: EventHub;
  readonly #now: () => number;

  constructor({ store, hub, now }: { store: Store; hub: EventHub; now: () => number }) {
    this.#store = store;
    this.#hub = hub;
    this.#now = now;
  }

  /** Gives executions that are still in a state of `from` their final state; returns them. */
  async finish(
    keys: readonly (ExecutionKey & { asOf?: number })[],
    from: readonly ExecutionState[],
    state: ExecutionState,
    reason: string,
  ): Promise<ExecutionKey[]> {
    if (keys.length === 0) return [];
    const at = this.#now();
    const finished = await this.#store.transaction(async (tx) => {
      const rows = await tx.executions.finish(keys, from, state, reason, at);
      await recordChanges(
        tx,
        rows.map((row) => ({ ...row, state })),
        at,
      );
      return rows;
    });
    await this.commandsMayBeDone(finished.map((row) => row.command));
    return finished;
  }

  /** Ends executions that were never sent, and marks the others to end soon; returns both. */
  async end(keys: readonly ExecutionKey[], ending: EndCause): ReturnType<Executions['end']> {
    if (keys.length === 0) return { ended: [], marked: [] };
    const at = this.#now();
    const answer = await this.#store.transaction((tx) => endAndRecord(tx, keys, ending, at));
    await this.commandsMayBeDone(answer.ended.map((row) => row.command));
    return answer;
  }

  async commandsMayBeDone(commands: Iterable<string>): Promise<void> {
    const ids = [...new Set(commands)];
    if (ids.length > 0) {
      const at = this.#now();
      await this.#store.transaction((tx) => finishCommands(tx, ids, at));
    }
    this.#hub.notify();
  }
}
