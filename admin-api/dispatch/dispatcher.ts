import type { Logger } from 'pino';
import { type Bus, BusUnavailable, type Holder } from '../../bus/bus.ts';
import type { AdminMetrics } from '../metrics.ts';
import { type Outcomes, recordChanges, recordRequeued } from '../outcomes.ts';
import type { Command } from '../store/records.ts';
import {
  type ExecutionKey,
  type QueuedExecution,
  type Routes,
  type Store,
  StoreUnavailable,
} from '../store/store.ts';
import type { ClonedDevices } from './cloned-devices.ts';
import type { CommandFrames, CommandToSend } from './command-frames.ts';
import { type OutboxBatch, outboxBatches } from './outbox-batches.ts';
import { SendWindow } from './send-window.ts';

/** A round reads the queues of at most this many devices. */
const ROUND = 1000;
/** Sent and unacknowledged executions of one device at a time; the rest follow as it acknowledges. */
const PER_DEVICE = 32;
/** If the bus takes longer than this to locate devices, their executions are queued. */
const ROUTES_WITHIN_MS = 100;
/**
 * A count of unacknowledged executions is used for this long, and waiting devices are tried again as often:
 * counting reads every such row.
 */
const COUNTED_FOR_MS = 250;
const RETRY_GONE_MS = 100;
const RETRY_FULL_MS = 250;
const RETRY_FAULT_MS = 1000;

type Due = QueuedExecution & { holder: Holder };

/**
 * Hands executions to the workers that hold the devices; there is no other path to a device.
 *
 * Code that inserts executions first asks for the `routes` of their devices. It inserts an execution as sent
 * if its device has a route and nothing pending, and passes it to `carry`. All other executions are queued,
 * and `wake` names their devices: when a command was created, a device connected, or an execution was queued
 * again. A wake may come too often or, after a crash, never: OverdueExecutions wakes every device with
 * queued executions.
 */
export class Dispatcher {
  readonly #store: Store;
  readonly #bus: Bus;
  readonly #frames: CommandFrames;
  readonly #outcomes: Outcomes;
  readonly #metrics: AdminMetrics;
  readonly #cloned: Pick<ClonedDevices, 'withheld'>;
  readonly #log: Logger;
  readonly #now: () => number;
  readonly #due = new Set<string>();
  /** Devices with more queued executions than may be unacknowledged at a time. */
  readonly #backlogged = new Set<string>();
  /** Devices that acknowledged or ended an execution since the current round began to read. */
  readonly #progressed = new Set<string>();
  /** By incarnation: devices that wait until their worker has room. */
  readonly #waiting = new Map<string, Set<string>>();
  #windowTimer: NodeJS.Timeout | undefined;
  readonly #timers = new Set<NodeJS.Timeout>();
  #counted = new SendWindow(new Map());
  #countedAt = Number.NEGATIVE_INFINITY;
  /** Devices whose last handover failed. Nothing overtakes those executions until they are tried again. */
  readonly #held = new Set<string>();
  #running: Promise<void> | undefined;
  /** Executions go out in the order in which they were recorded as sent. */
  #carrying: Promise<void> = Promise.resolve();
  #roundCount = 0;
  #state: 'new' | 'started' | 'stopping' = 'new';

  constructor(parts: {
    store: Store;
    bus: Bus;
    frames: CommandFrames;
    outcomes: Outcomes;
    metrics: AdminMetrics;
    cloned: Pick<ClonedDevices, 'withheld'>;
    log: Logger;
    now: () => number;
  }) {
    this.#store = parts.store;
    this.#bus = parts.bus;
    this.#frames = parts.frames;
    this.#outcomes = parts.outcomes;
    this.#metrics = parts.metrics;
    this.#cloned = parts.cloned;
    this.#log = parts.log;
    this.#now = parts.now;
  }

  /** Completed rounds. */
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
    clearTimeout(this.#windowTimer);
    await this.#running;
    await this.#carrying;
  }

  /**
   * Routes to those of `devices` that are reachable now and whose workers have room; empty if that cannot be
   * found out in time. Never rejects.
   */
  async routes(devices: readonly string[]): Promise<Routes> {
    if (devices.length === 0 || this.#state !== 'started') return new Map();
    let given: NodeJS.Timeout | undefined;
    const late = new Promise<Routes>((resolve) => {
      // After a long turn of the event loop, timers run before answers that arrived during it. The two
      // `setImmediate` let those answers win.
      given = setTimeout(() => setImmediate(() => setImmediate(resolve, new Map())), ROUTES_WITHIN_MS);
    });
    const found = this.#findRoutes(devices).catch((error): Routes => {
      this.#log.debug({ err: error }, 'no routes found; new executions are queued');
      return new Map();
    });
    return Promise.race([found, late]).finally(() => clearTimeout(given));
  }

  async #findRoutes(devices: readonly string[]): Promise<Routes> {
    const located = await this.#bus.presence.locate(devices);
    const window = await this.#window();
    const routes = new Map<string, Holder>();
    for (const [i, device] of devices.entries()) {
      const holder = located[i];
      if (holder && !this.#isHeld(device) && window.take(holder.incarnation)) routes.set(device, holder);
    }
    return routes;
  }

  async #window(): Promise<SendWindow> {
    const now = performance.now();
    if (now - this.#countedAt >= COUNTED_FOR_MS) {
      this.#countedAt = now;
      this.#counted = new SendWindow(await this.#store.executions.sentByIncarnation());
    }
    return this.#counted;
  }

  /**
   * Hands over executions that were just recorded as sent along these routes. Call it in the order in which
   * they were recorded. If an outbox refuses them, they are queued again. After any other failure they stay
   * sent, and OverdueExecutions sends them again. Never rejects.
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
        this.#log.warn(
          { err: error, executions: rows.length },
          'executions were not handed to workers and will be sent again',
        ),
      );
    return this.#carrying;
  }

  async #carry(
    rows: readonly ExecutionKey[],
    commands: ReadonlyMap<string, CommandToSend>,
    routes: Routes,
  ): Promise<void> {
    const held = new Map<string, ExecutionKey[]>();
    const free = rows.filter((row) => {
      const incarnation = routes.get(row.device)?.incarnation;
      if (!this.#held.has(row.device) || incarnation === undefined) return true;
      const behind = held.get(incarnation);
      if (behind) behind.push(row);
      else held.set(incarnation, [row]);
      return false;
    });
    const batches = await outboxBatches(this.#store, this.#frames, free, commands, routes);
    await Promise.all(batches.map((one) => this.#append(one)));
    this.#metrics.dispatched.inc(free.length);
    for (const [incarnation, rows] of held) await this.#takeBack(incarnation, rows, 'unavailable');
  }

  #isHeld(device: string): boolean {
    return this.#held.has(device) || this.#cloned.withheld(device);
  }

  /** Tries these devices again after `delayMs`, and not sooner. */
  #hold(devices: readonly string[], delayMs: number): void {
    for (const device of devices) this.#held.add(device);
    this.#after(delayMs, () => {
      for (const device of devices) this.#held.delete(device);
      this.wake(devices);
    });
  }

  #after(delayMs: number, work: () => void): void {
    if (this.#state === 'stopping') return;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      work();
    }, delayMs);
    this.#timers.add(timer);
  }

  /** These devices may have executions to send. */
  wake(devices: Iterable<string>): void {
    for (const device of devices) this.#due.add(device);
    this.#run();
  }

  wakeLater(devices: readonly string[], delayMs: number): void {
    if (devices.length > 0) this.#after(delayMs, () => this.wake(devices));
  }

  /** These devices acknowledged or ended an execution: those that were held back get their next ones. */
  progressed(devices: Iterable<string>): void {
    if (this.#running) for (const device of devices) this.#progressed.add(device);
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

  async #round(woken: string[]): Promise<void> {
    const devices = woken.filter((device) => !this.#isHeld(device));
    this.#progressed.clear();
    const { due: queued, heldBack } = await this.#store.executions.queuedFor(devices, PER_DEVICE);
    for (const device of heldBack) {
      // If the device acknowledged after this read found no room, nothing else would wake it.
      if (this.#progressed.has(device)) this.#due.add(device);
      else this.#backlogged.add(device);
    }
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

  /** The executions that their workers have room for; the other devices wait. */
  async #withinWindows(possible: readonly Due[]): Promise<Due[]> {
    const window = await this.#window();
    const full = new Set<string>();
    return possible.filter(({ device, holder: { incarnation } }) => {
      if (!full.has(incarnation) && window.take(incarnation)) return true;
      // No later execution overtakes a waiting one: a device gets its commands in order.
      full.add(incarnation);
      const waiting = this.#waiting.get(incarnation) ?? new Set();
      this.#waiting.set(incarnation, waiting.add(device));
      this.#windowTimer ??= setTimeout(() => this.#wakeWaiting(), COUNTED_FOR_MS);
      return false;
    });
  }

  /** Wakes as many waiting devices as their workers have room for now. */
  #wakeWaiting(): void {
    this.#windowTimer = undefined;
    if (this.#state !== 'started') return;
    this.#window().then(
      (window) => {
        for (const [incarnation, devices] of this.#waiting) {
          let left = window.left(incarnation);
          for (const device of devices) {
            if (left-- === 0) break;
            devices.delete(device);
            this.#due.add(device);
          }
          if (devices.size === 0) this.#waiting.delete(incarnation);
        }
        this.#run();
        if (this.#waiting.size > 0) {
          this.#windowTimer ??= setTimeout(() => this.#wakeWaiting(), COUNTED_FOR_MS);
        }
      },
      (error) => {
        this.#log.warn({ err: error }, 'dispatch waits');
        this.#windowTimer ??= setTimeout(() => this.#wakeWaiting(), RETRY_FAULT_MS);
      },
    );
  }

  async #commandsOf(rows: readonly ExecutionKey[]): Promise<Map<string, Command>> {
    const ids = [...new Set(rows.map((row) => row.command))];
    return new Map((await this.#store.commands.getMany(ids)).map((command) => [command.id, command]));
  }

  /**
   * Ends executions that were canceled or must not wait; returns those that can go out now. The finalizer
   * ends expired ones.
   */
  async #endWhatMustNotGo(
    queued: readonly QueuedExecution[],
    commands: Map<string, Command>,
    holders: Map<string, Holder | null>,
  ): Promise<Due[]> {
    const now = this.#now();
    const canceled: ExecutionKey[] = [];
    const skipped: ExecutionKey[] = [];
    const due: Due[] = [];
    for (const row of queued) {
      const command = commands.get(row.command);
      const holder = holders.get(row.device);
      if (!command || command.cancelRequestedAt !== null) canceled.push(row);
      else if (row.expiresAt <= now) continue;
      else if (holder) due.push({ ...row, holder });
      else if (command.offline === 'skip') skipped.push(row);
    }
    await this.#outcomes.end(canceled, 'cancel');
    await this.#outcomes.end(skipped, 'skip');
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

  async #append({ incarnation, deliveries, rows }: OutboxBatch): Promise<void> {
    const answer = await this.#bus.outboxes.append(incarnation, deliveries).catch((error): 'unavailable' => {
      if (!(error instanceof BusUnavailable)) throw error;
      return 'unavailable';
    });
    if (answer !== 'appended') await this.#takeBack(incarnation, rows, answer);
  }

  /** Queues executions again that were not handed over. Nothing overtakes them until they are tried again. */
  async #takeBack(
    incarnation: string,
    rows: readonly ExecutionKey[],
    why: 'gone' | 'full' | 'unavailable',
  ): Promise<void> {
    const delayMs = { gone: RETRY_GONE_MS, full: RETRY_FULL_MS, unavailable: RETRY_FAULT_MS }[why];
    this.#hold([...new Set(rows.map((row) => row.device))], delayMs);
    this.#metrics.undispatched.inc({ why }, rows.length);
    const at = this.#now();
    const superseded = await this.#store.transaction(async (tx) =>
      recordRequeued(tx, await tx.executions.requeue(rows, incarnation), at),
    );
    if (superseded.length > 0) await this.#outcomes.commandsMayBeDone(superseded.map((row) => row.command));
  }
}
