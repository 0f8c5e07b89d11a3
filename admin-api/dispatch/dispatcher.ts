import type { Logger } from 'pino';
import { type Bus, BusUnavailable, type Delivery, type Holder } from '../../bus/bus.ts';
import { groupsOnPath } from '../directory-projector.ts';
import { type Outcomes, recordChanges, recordRequeued } from '../ledger/outcomes.ts';
import type { AdminMetrics } from '../metrics.ts';
import type { Command } from '../store/records.ts';
import { ROOT_GROUP } from '../store/records.ts';
import { type ExecutionKey, type QueuedExecution, type Store, StoreUnavailable } from '../store/store.ts';
import type { CommandFrames } from './command-frames.ts';

/** Devices looked at in one round. */
const ROUND = 1000;
/** Sent and unacknowledged executions of one device at a time; the rest follow as it acknowledges. */
const PER_DEVICE = 32;
/** The same for one worker, so that a command to everyone floods none, and one that is slow holds up only its own. */
const PER_WORKER = 4000;
/** How soon room is looked for again for what waits for a worker. */
const RETRY_ROOM_MS = 25;
const RETRY_GONE_MS = 100;
const RETRY_FULL_MS = 250;
const RETRY_FAULT_MS = 1000;

type Due = QueuedExecution & { holder: Holder };

/**
 * Takes queued executions of devices that are reachable and hands them to the workers that hold the devices. It is
 * woken with device ids: a command was made, a device connected, something fell back to queued. There is no other path
 * to a device. A wake may come too often or, after a crash, never: the sweeper wakes whoever has something queued.
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
  #running: Promise<void> | undefined;
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
    const holders = new Map(due.map((row) => [row.device, row.holder]));
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
    const byWorker = await this.#deliveries(claimed, commands, holders);
    await Promise.all([...byWorker].map(([incarnation, mail]) => this.#append(incarnation, mail)));
    this.#metrics.dispatched.inc(claimed.length);
  }

  async #append(incarnation: string, mail: { deliveries: Delivery[]; rows: ExecutionKey[] }): Promise<void> {
    let answer: 'appended' | 'gone' | 'full' | 'unavailable';
    try {
      answer = await this.#bus.outboxes.append(incarnation, mail.deliveries);
    } catch (error) {
      if (!(error instanceof BusUnavailable)) throw error;
      answer = 'unavailable';
    }
    if (answer === 'appended') return;
    this.#metrics.undispatched.inc({ why: answer }, mail.rows.length);
    const at = this.#now();
    const superseded = await this.#store.transaction(async (tx) =>
      recordRequeued(tx, await tx.executions.requeue(mail.rows, incarnation), at),
    );
    if (superseded.length > 0) await this.#outcomes.commandsMayBeDone(superseded.map((row) => row.command));
    const delayMs = { gone: RETRY_GONE_MS, full: RETRY_FULL_MS, unavailable: RETRY_FAULT_MS }[answer];
    this.wakeLater([...new Set(mail.rows.map((row) => row.device))], delayMs);
  }

  /** Per worker, one delivery for all devices of a group command and one for each device that is addressed by name. */
  async #deliveries(
    rows: readonly ExecutionKey[],
    commands: Map<string, Command>,
    holders: Map<string, Holder>,
  ): Promise<Map<string, { deliveries: Delivery[]; rows: ExecutionKey[] }>> {
    const inGroup = await this.#membersOf(rows, commands);
    const byWorker = new Map<string, { deliveries: Delivery[]; rows: ExecutionKey[] }>();
    const shared = new Map<string, Delivery>();
    const ordered = [...rows].sort((a, b) => (a.command < b.command ? -1 : a.command > b.command ? 1 : 0));
    for (const row of ordered) {
      const command = commands.get(row.command);
      const incarnation = holders.get(row.device)?.incarnation;
      if (!command || incarnation === undefined) continue;
      const mail = byWorker.get(incarnation) ?? { deliveries: [], rows: [] };
      byWorker.set(incarnation, mail);
      mail.rows.push(row);
      if ('group' in command.target && inGroup(row.device, command.target.group)) {
        const key = `${incarnation} ${command.id}`;
        const delivery = shared.get(key);
        if (delivery) delivery.devices.push(row.device);
        else {
          const frame = this.#frames.forGroup(command, command.target.group);
          const made = { devices: [row.device], frame, commandId: command.id };
          shared.set(key, made);
          mail.deliveries.push(made);
        }
      } else {
        const frame = this.#frames.forDevice(command, row.device);
        mail.deliveries.push({ devices: [row.device], frame, commandId: command.id });
      }
    }
    return byWorker;
  }

  /**
   * Whether a device is in a group now. One that has left the target group since the command was made would refuse the
   * shared frame, so it is addressed by name.
   */
  async #membersOf(
    rows: readonly ExecutionKey[],
    commands: Map<string, Command>,
  ): Promise<(device: string, group: string) => boolean> {
    const asked = rows.filter((row) => {
      const target = commands.get(row.command)?.target;
      return target && 'group' in target && target.group !== ROOT_GROUP;
    });
    const ids = [...new Set(asked.map((row) => row.device))];
    const devices = ids.length > 0 ? await this.#store.devices.withPaths(ids) : [];
    const groups = new Map(devices.map(({ id, groupPath }) => [id, groupsOnPath(groupPath)]));
    return (device, group) => group === ROOT_GROUP || (groups.get(device)?.includes(group) ?? false);
  }
}
