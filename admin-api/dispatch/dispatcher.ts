import type { Logger } from 'pino';
import { type Bus, BusUnavailable, type Holder } from '../../bus/bus.ts';
import { type Outcomes, recordChanges, recordRequeued } from '../ledger/outcomes.ts';
import type { AdminMetrics } from '../metrics.ts';
import type { Command } from '../store/records.ts';
import {
  type ExecutionKey,
  type QueuedExecution,
  type Routes,
  type Store,
  StoreUnavailable,
} from '../store/store.ts';
import type { CommandFrames, CommandToSend } from './command-frames.ts';
import { type WorkerMail, workerMail } from './worker-mail.ts';

/** Devices looked at in one round. */
const ROUND = 1000;
/** Sent and unacknowledged executions of one device at a time; the rest follow as it acknowledges. */
const PER_DEVICE = 32;
/**
 * The same for one worker, so that one that is slow holds up only its own. About as many devices as a worker has, so that a command to
 * everyone is on its way before the answers are written.
 */
const PER_WORKER = 16_000;
/** A bus that does not say so soon where devices are is not waited for: what is on record goes the other way. */
const ROUTES_WITHIN_MS = 100;
/** How long a count of what workers have unacknowledged is good enough for routes. */
const COUNTED_FOR_MS = 100;
/** How soon room is looked for again for what waits for a worker. */
const RETRY_ROOM_MS = 25;
const RETRY_GONE_MS = 100;
const RETRY_FULL_MS = 250;
const RETRY_FAULT_MS = 1000;

type Due = QueuedExecution & { holder: Holder };

/**
 * Hands executions to the workers that hold the devices; there is no other path to a device. Who puts executions on record asks for
 * the `routes` of their devices, has those with a route and nothing in the way put on record as sent, and passes them to `carry`. For
 * whatever is queued it is woken with device ids: a command was made, a device connected, something fell back to queued. A wake may
 * come too often or, after a crash, never: the sweeper wakes whoever has something queued.
 */
export class Dispatcher {
  readonly #store: Store;
  readonly #bus: Bus;
  readonly #frames: CommandFrames;
  readonly #outcomes: Outcomes;
  readonly #metrics: AdminMetrics;
  readonly #log: Logger;
  readonly #now: () => number;
  readonly #due = new Set<string>();
  /** Devices that had more queued than they may have unacknowledged. */
  readonly #backlogged = new Set<string>();
  /** By incarnation, the devices that wait until their worker has room. */
  readonly #waiting = new Map<string, Set<string>>();
  #roomTimer: NodeJS.Timeout | undefined;
  readonly #timers = new Set<NodeJS.Timeout>();
  #counted = new Map<string, number>();
  #countedAt = Number.NEGATIVE_INFINITY;
  #running: Promise<void> | undefined;
  /** What is on record as sent goes out in the order it got there. */
  #carrying: Promise<void> = Promise.resolve();
  #roundCount = 0;
  #state: 'new' | 'started' | 'stopping' = 'new';

  constructor(parts: {
    store: Store;
    bus: Bus;
    frames: CommandFrames;
    outcomes: Outcomes;
    metrics: AdminMetrics;
    log: Logger;
    now: () => number;
  }) {
    this.#store = parts.store;
    this.#bus = parts.bus;
    this.#frames = parts.frames;
    this.#outcomes = parts.outcomes;
    this.#metrics = parts.metrics;
    this.#log = parts.log;
    this.#now = parts.now;
  }

  /** Rounds that came to an end. */
  get rounds(): number {
    return this.#roundCount;
  }

  get idle(): boolean {
    return this.#running === undefined;
  }

  start(): void {
    this.#state = 'started';
    this.#run();
  }

  async stop(): Promise<void> {
    this.#state = 'stopping';
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    clearTimeout(this.#roomTimer);
    await this.#running;
    await this.#carrying;
  }

  /** For those of `devices` that are reachable now and whose workers have room; for none while the bus or the store is away. */
  async routes(devices: readonly string[]): Promise<Routes> {
    if (devices.length === 0 || this.#state !== 'started') return new Map();
    let given: NodeJS.Timeout | undefined;
    const late = new Promise<Routes>((resolve) => {
      given = setTimeout(resolve, ROUTES_WITHIN_MS, new Map());
    });
    const found = this.#findRoutes(devices).catch((error): Routes => {
      if (!(error instanceof BusUnavailable || error instanceof StoreUnavailable)) throw error;
      return new Map();
    });
    return Promise.race([found, late]).finally(() => clearTimeout(given));
  }

  async #findRoutes(devices: readonly string[]): Promise<Routes> {
    const located = await this.#bus.presence.locate(devices);
    const sent = await this.#sentLately();
    const routes = new Map<string, Holder>();
    for (const [i, device] of devices.entries()) {
      const holder = located[i];
      if (!holder) continue;
      const count = sent.get(holder.incarnation) ?? 0;
      if (count >= PER_WORKER) continue;
      sent.set(holder.incarnation, count + 1);
      routes.set(device, holder);
    }
    return routes;
  }

  /** What each worker has unacknowledged, with what has been routed since it was counted. */
  async #sentLately(): Promise<Map<string, number>> {
    const now = performance.now();
    if (now - this.#countedAt > COUNTED_FOR_MS) {
      this.#countedAt = now;
      this.#counted = await this.#store.executions.sentByIncarnation();
    }
    return this.#counted;
  }

  /**
   * Hands over what was just put on record as sent along these routes, to be called in the order it was. What cannot be handed over is
   * queued again. Never rejects.
   */
  carry(
    rows: readonly ExecutionKey[],
    commands: ReadonlyMap<string, CommandToSend>,
    routes: Routes,
  ): Promise<void> {
    if (rows.length === 0) return this.#carrying;
    this.#carrying = this.#carrying
      .then(() => this.#carry(rows, commands, routes))
      .catch((error) =>
        // They are on record as sent: the sweeper sends them again.
        this.#log.warn({ err: error, executions: rows.length }, 'not handed to workers; sent again later'),
      );
    return this.#carrying;
  }

  async #carry(
    rows: readonly ExecutionKey[],
    commands: ReadonlyMap<string, CommandToSend>,
    routes: Routes,
  ): Promise<void> {
    const mail = await workerMail(this.#store, this.#frames, rows, commands, routes);
    await Promise.all(mail.map((one) => this.#append(one)));
    this.#metrics.dispatched.inc(rows.length);
  }

  /** Something may be due for these devices. */
  wake(devices: Iterable<string>): void {
    for (const device of devices) this.#due.add(device);
    this.#run();
  }

  wakeLater(devices: readonly string[], delayMs: number): void {
    if (devices.length === 0 || this.#state === 'stopping') return;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.wake(devices);
    }, delayMs);
    this.#timers.add(timer);
  }

  /** These devices acknowledged or ended something: whoever was held back goes on. */
  progressed(devices: Iterable<string>): void {
    if (this.#backlogged.size === 0) return;
    const more: string[] = [];
    for (const device of devices) if (this.#backlogged.delete(device)) more.push(device);
    if (more.length > 0) this.wake(more);
  }

  #run(): void {
    if (this.#state !== 'started' || this.#running || this.#due.size === 0) return;
    this.#running = this.#rounds().finally(() => {
      this.#running = undefined;
      this.#roundCount++;
      this.#run();
    });
  }

  async #rounds(): Promise<void> {
    // Requests that arrive together are dispatched together.
    await new Promise(setImmediate);
    while (this.#due.size > 0 && this.#state === 'started') {
      const devices: string[] = [];
      for (const device of this.#due) {
        this.#due.delete(device);
        if (devices.push(device) === ROUND) break;
      }
      try {
        await this.#round(devices);
        this.#roundCount++;
      } catch (error) {
        if (error instanceof BusUnavailable || error instanceof StoreUnavailable) {
          this.#log.warn({ err: error, devices: devices.length }, 'dispatch waits');
        } else {
          this.#log.error({ err: error, devices: devices.length }, 'dispatch failed; trying again');
        }
        this.wakeLater(devices, RETRY_FAULT_MS);
        return;
      }
    }
  }

  async #round(devices: string[]): Promise<void> {
    const { due: queued, heldBack } = await this.#store.executions.queuedFor(devices, PER_DEVICE);
    for (const device of heldBack) this.#backlogged.add(device);
    if (queued.length === 0) return;
    const waiting = [...new Set(queued.map((row) => row.device))];
    const located = await this.#bus.presence.locate(waiting);
    const holders = new Map(waiting.map((device, i) => [device, located[i] ?? null]));
    const commands = await this.#commandsOf(queued);
    const possible = await this.#endWhatMustNotGo(queued, commands, holders);
    if (possible.length === 0) return;
    const due = await this.#withinWindows(possible);
    if (due.length > 0) await this.#send(due, commands);
  }

  /** As many as each worker has room for; the devices of the others wait for theirs. */
  async #withinWindows(possible: readonly Due[]): Promise<Due[]> {
    const sent = await this.#store.executions.sentByIncarnation();
    const full = new Set<string>();
    return possible.filter(({ device, holder: { incarnation } }) => {
      const count = sent.get(incarnation) ?? 0;
      if (count < PER_WORKER && !full.has(incarnation)) {
        sent.set(incarnation, count + 1);
        return true;
      }
      // Nothing later goes ahead of what waits: a device gets its commands in order.
      full.add(incarnation);
      const waiting = this.#waiting.get(incarnation) ?? new Set();
      this.#waiting.set(incarnation, waiting.add(device));
      this.#roomTimer ??= setTimeout(() => this.#wakeWaiting(), RETRY_ROOM_MS);
      return false;
    });
  }

  /** Wakes as many waiting devices as their workers have room for now. */
  #wakeWaiting(): void {
    this.#roomTimer = undefined;
    if (this.#state !== 'started') return;
    this.#store.executions.sentByIncarnation().then(
      (sent) => {
        for (const [incarnation, devices] of this.#waiting) {
          let room = PER_WORKER - (sent.get(incarnation) ?? 0);
          for (const device of devices) {
            if (room-- <= 0) break;
            devices.delete(device);
            this.#due.add(device);
          }
          if (devices.size === 0) this.#waiting.delete(incarnation);
        }
        this.#run();
        if (this.#waiting.size > 0) {
          this.#roomTimer ??= setTimeout(() => this.#wakeWaiting(), RETRY_ROOM_MS);
        }
      },
      (error) => {
        this.#log.warn({ err: error }, 'dispatch waits');
        this.#roomTimer ??= setTimeout(() => this.#wakeWaiting(), RETRY_FAULT_MS);
      },
    );
  }

  async #commandsOf(rows: readonly ExecutionKey[]): Promise<Map<string, Command>> {
    const ids = [...new Set(rows.map((row) => row.command))];
    return new Map((await this.#store.commands.getMany(ids)).map((command) => [command.id, command]));
  }

  /** Ends what expired, was canceled or must not wait; returns what can go to a device now. */
  async #endWhatMustNotGo(
    queued: readonly QueuedExecution[],
    commands: Map<string, Command>,
    holders: Map<string, Holder | null>,
  ): Promise<Due[]> {
    const now = this.#now();
    const expired: ExecutionKey[] = [];
    const canceled: ExecutionKey[] = [];
    const skipped: ExecutionKey[] = [];
    const due: Due[] = [];
    for (const row of queued) {
      const command = commands.get(row.command);
      const holder = holders.get(row.device);
      if (!command || command.cancelRequestedAt !== null) canceled.push(row);
      else if (row.expiresAt <= now) expired.push(row);
      else if (holder) due.push({ ...row, holder });
      else if (command.offline === 'skip') skipped.push(row);
    }
    await this.#outcomes.finish(expired, ['queued'], 'expired', 'not delivered in time');
    await this.#outcomes.finish(canceled, ['queued'], 'canceled', 'canceled before it was sent');
    await this.#outcomes.finish(skipped, ['queued'], 'canceled', 'device offline');
    return due;
  }

  async #send(due: readonly Due[], commands: Map<string, Command>): Promise<void> {
    const at = this.#now();
    const routes = new Map(due.map((row) => [row.device, row.holder]));
    const claimed = await this.#store.transaction(async (tx) => {
      const rows = await tx.executions.markSent(
        due.map(({ command, device, holder }) => ({ command, device, ...holder })),
        at,
      );
      await recordChanges(
        tx,
        rows.map((row) => ({ ...row, state: 'sent' as const })),
        at,
      );
      return rows;
    });
    await this.carry(claimed, commands, routes);
  }

  async #append({ incarnation, deliveries, rows }: WorkerMail): Promise<void> {
    let answer: 'appended' | 'gone' | 'full' | 'unavailable';
    try {
      answer = await this.#bus.outboxes.append(incarnation, deliveries);
    } catch (error) {
      if (!(error instanceof BusUnavailable)) throw error;
      answer = 'unavailable';
    }
    if (answer === 'appended') return;
    this.#metrics.undispatched.inc({ why: answer }, rows.length);
    const at = this.#now();
    const superseded = await this.#store.transaction(async (tx) =>
      recordRequeued(tx, await tx.executions.requeue(rows, incarnation), at),
    );
    if (superseded.length > 0) await this.#outcomes.commandsMayBeDone(superseded.map((row) => row.command));
    const delayMs = { gone: RETRY_GONE_MS, full: RETRY_FULL_MS, unavailable: RETRY_FAULT_MS }[answer];
    this.wakeLater([...new Set(rows.map((row) => row.device))], delayMs);
  }
}
