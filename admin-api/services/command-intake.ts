import { setTimeout as delay, setImmediate as turn } from 'node:timers/promises';
import type { Dispatcher } from '../dispatch/dispatcher.ts';
import { changesEvent, type Outcomes } from '../outcomes.ts';
import { Problem } from '../problems.ts';
import type { Command, StateCounts } from '../store/records.ts';
import { noCounts } from '../store/sql/state-codes.ts';
import type { Commands, ExecutionKey, NewCommand, Routes, Store } from '../store/store.ts';

export type ListedCommand = NewCommand & { target: { devices: string[] } };
export interface TakenIn {
  command: Command;
  counts: StateCounts;
  /** An earlier request with the same idempotency key created it. */
  existing: boolean;
}

type Answer = Awaited<ReturnType<Commands['createListed']>>['answers'][number];

interface Waiting {
  command: ListedCommand;
  resolve: (taken: Promise<TakenIn>) => void;
  reject: (error: unknown) => void;
}

/** Most commands in one transaction; those that arrive meanwhile wait for the next. */
const BATCH = 128;
/**
 * After a batch, the next one waits this long for more commands, unless this many already wait: transaction,
 * outbox and hint cost about as much for one command as for ten. A command after a pause does not wait.
 */
const GATHER_MS = 5;
const ENOUGH = 64;
/** Most commands that wait to be stored; further requests are refused with Retry-After. */
export const WAITING_MAX = 2_000;
const COME_AGAIN_S = 1;

/**
 * Accepts commands to few named devices. Requests that arrive together are stored in one transaction; each is
 * answered after the commit.
 */
export class CommandIntake {
  readonly #store: Store;
  readonly #dispatcher: Dispatcher;
  readonly #outcomes: Outcomes;
  readonly #now: () => number;
  readonly #waiting: Waiting[] = [];
  #running = false;

  constructor(parts: { store: Store; dispatcher: Dispatcher; outcomes: Outcomes; now: () => number }) {
    this.#store = parts.store;
    this.#dispatcher = parts.dispatcher;
    this.#outcomes = parts.outcomes;
    this.#now = parts.now;
  }

  /**
   * Rejects with a `Problem`: unknown-reference when a device does not exist, idempotency-conflict when its
   * key was used with another body, unavailable when too many wait; and with what the store says.
   */
  async take(command: ListedCommand): Promise<TakenIn> {
    if (this.#waiting.length >= WAITING_MAX) {
      const why = `${WAITING_MAX} commands already wait to be stored: send fewer at once.`;
      throw new Problem('unavailable', why, COME_AGAIN_S);
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ command, resolve, reject });
      if (!this.#running) void this.#run();
    });
  }

  async #run(): Promise<void> {
    this.#running = true;
    // Requests in the same turn of the event loop join this batch.
    await turn();
    while (this.#waiting.length > 0) {
      await this.#takeAll(this.#waiting.splice(0, BATCH));
      if (this.#waiting.length < ENOUGH) await delay(GATHER_MS);
    }
    this.#running = false;
  }

  async #takeAll(batch: readonly Waiting[], knownRoutes?: Routes): Promise<void> {
    try {
      const commands = batch.map(({ command }) => command);
      const routes = knownRoutes ?? (await this.#routesOf(commands));
      const { answers, superseded } = await this.#record(commands, routes);
      void this.#dispatcher.carry(
        sentAtOnce(commands, answers),
        new Map(commands.map((command) => [command.id, command])),
        routes,
      );
      const followed = this.#followUp(commands, answers, new Set(superseded.map((row) => row.command)));
      for (const [i, { command, resolve, reject }] of batch.entries()) {
        const answer = answers[i] as Answer;
        if ('unknown' in answer) reject(unknownDevices(answer.unknown));
        else if ('conflict' in answer) reject(keyConflict(answer.conflict));
        else if ('existing' in answer) resolve(onRecord(this.#store, answer.existing, true));
        else resolve(this.#taken(command, answer, followed));
      }
    } catch (error) {
      // One of them may be the cause, so each is tried alone.
      const [only, ...others] = batch;
      if (others.length === 0) only?.reject(error);
      else for (const waiting of batch) await this.#takeAll([waiting], new Map());
    }
  }

  #routesOf(commands: readonly ListedCommand[]): Promise<Routes> {
    return this.#dispatcher.routes([...new Set(commands.flatMap(({ target }) => target.devices))]);
  }

  #record(commands: readonly ListedCommand[], routes: Routes): ReturnType<Commands['createListed']> {
    const now = this.#now();
    return this.#store.transaction(async (tx) => {
      const outcome = await tx.commands.createListed(commands, now, routes);
      const made = commands.filter((_, i) => 'queued' in (outcome.answers[i] as Answer));
      const changes = [
        ...outcome.superseded.map((row) => ({ ...row, state: 'superseded' as const })),
        ...sentAtOnce(commands, outcome.answers).map((row) => ({ ...row, state: 'sent' as const })),
      ];
      await tx.events.append([
        ...made.map(({ id, type, issuedAt }) => ({
          at: issuedAt,
          type: 'command.created',
          data: { id, type },
        })),
        ...(changes.length > 0 ? [changesEvent(changes, now)] : []),
      ]);
      await tx.audit.append(
        ...made.map(({ id, type, target, issuedAt, createdBy }) => ({
          at: issuedAt,
          actor: createdBy,
          action: 'command.create',
          subject: id,
          detail: { type, target: describeDevices(target.devices) },
        })),
      );
      return outcome;
    });
  }

  async #followUp(
    commands: readonly ListedCommand[],
    answers: readonly Answer[],
    superseded: ReadonlySet<string>,
  ): Promise<void> {
    const ended = new Set(superseded);
    for (const [i, answer] of answers.entries()) {
      if (!('queued' in answer)) continue;
      this.#dispatcher.wake(answer.queued);
      if (answer.queued.length + answer.sent.length === 0) ended.add((commands[i] as ListedCommand).id);
    }
    await this.#outcomes.commandsMayBeDone(ended);
  }

  async #taken(
    { idempotency: _, ...command }: ListedCommand,
    { queued, sent, canceled }: Extract<Answer, { queued: string[] }>,
    followed: Promise<void>,
  ): Promise<TakenIn> {
    await followed;
    const open = queued.length + sent.length;
    if (open === 0) return onRecord(this.#store, command.id, false);
    const counts = {
      ...noCounts(),
      queued: queued.length,
      sent: sent.length,
      canceled,
      total: open + canceled,
    };
    return {
      command: { ...command, expanded: true, cancelRequestedAt: null, finishedAt: null },
      counts,
      existing: false,
    };
  }
}

function sentAtOnce(commands: readonly ListedCommand[], answers: readonly Answer[]): ExecutionKey[] {
  return commands.flatMap(({ id: command }, i) => {
    const answer = answers[i] as Answer;
    return 'sent' in answer ? answer.sent.map((device) => ({ command, device })) : [];
  });
}

/** The command as stored now. */
export async function onRecord(store: Store, id: string, existing: boolean): Promise<TakenIn> {
  const command = await store.commands.get(id);
  const counts = (await store.commands.counts([id])).get(id);
  if (!command || !counts) throw new Problem('internal', 'The ledger does not have this command.');
  return { command, counts, existing };
}

export function keyConflict(command: string): Problem {
  return new Problem(
    'idempotency-conflict',
    `This Idempotency-Key was used for command ${command} with another body; use a new key.`,
  );
}

export function unknownDevices(unknown: readonly string[]): Problem {
  const some = unknown.slice(0, 5).join(', ');
  const rest = unknown.length > 5 ? ` and ${unknown.length - 5} more` : '';
  return new Problem('unknown-reference', `No such device: ${some}${rest}. Nothing was sent to the others.`);
}

export function describeDevices(devices: readonly string[]): unknown {
  return { devices: devices.length, first: devices.slice(0, 5) };
}
