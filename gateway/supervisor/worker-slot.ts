/**
 * One worker's place in the gateway. When its process dies, another one replaces it after a pause. The pause
 * doubles from 0.5 s to 30 s and resets after a process has lived for a minute.
 */
import type { ChildProcess } from 'node:child_process';
import type { Logger } from 'pino';
import type { WorkerState } from '../worker-status.ts';
import type { FromWorker, MetricsJson, ToWorker } from './messages.ts';

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;
const STABLE_MS = 60_000;
/**
 * A worker reports once a second; one that is silent for this many checks, a second apart, hangs and is
 * killed.
 */
const SILENT_LOOKS = 30;
const METRICS_TIMEOUT_MS = 2_000;

/** `waiting`: the process died, the next one comes after the pause. */
export type SlotState = 'starting' | 'running' | 'waiting' | 'stopping' | 'stopped';

export interface SlotEvents {
  /** Something in `state` or `last` changed. */
  changed(): void;
  /** Resolves when the port may be listened on, rejects with the reason otherwise. */
  clearPort(port: number): Promise<void>;
  /** A process ended; `incarnation` is that of its lease, if known. */
  ended(incarnation: string | null): void;
}

export class WorkerSlot {
  /** The worker's name. */
  readonly name: string;
  readonly #fork: () => ChildProcess;
  readonly #events: SlotEvents;
  readonly #log: Logger;
  #state: SlotState = 'stopped';
  #child: ChildProcess | null = null;
  #last: WorkerState | null = null;
  #restarts = 0;
  #failures = 0;
  #begunAt = 0;
  #pause: NodeJS.Timeout | null = null;
  #watch: NodeJS.Timeout | null = null;
  #silentLooks = 0;
  #stateSince = Date.now();
  #replaced = false;
  #failure: Error | null = null;
  #firstOutcome: { resolve(): void; reject(error: Error): void } | null = null;
  #onEnd: (() => void) | null = null;
  #nextId = 0;
  readonly #metrics = new Map<number, (metrics: MetricsJson) => void>();

  constructor(name: string, fork: () => ChildProcess, events: SlotEvents, log: Logger) {
    this.name = name;
    this.#fork = fork;
    this.#events = events;
    this.#log = log.child({ worker: name });
  }

  get state(): SlotState {
    return this.#state;
  }

  /** When its state last changed, milliseconds since the Unix epoch. */
  get stateSince(): number {
    return this.#stateSince;
  }

  /** Latest report of its process; `null` while none serves. */
  get last(): WorkerState | null {
    return this.#last;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get restarts(): number {
    return this.#restarts;
  }

  /**
   * Resolves once the first process serves, rejects when it cannot or dies; a dead process is replaced in any
   * case.
   */
  start(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#firstOutcome = { resolve, reject };
      this.#watch = setInterval(() => this.#look(), 1_000);
      this.#begin();
    });
  }

  send(message: ToWorker): void {
    const child = this.#child;
    if (!child?.connected) return;
    child.send(message, (error) => {
      // The exit event reports its end.
      if (error) this.#log.debug({ err: error }, 'worker process not reached');
    });
  }

  /** Its metrics; empty when it does not answer in time. */
  metrics(): Promise<MetricsJson> {
    if (!this.#child?.connected || this.#last === null) return Promise.resolve([]);
    const id = ++this.#nextId;
    return new Promise((resolve) => {
      const done = (metrics: MetricsJson): void => {
        clearTimeout(timer);
        this.#metrics.delete(id);
        resolve(metrics);
      };
      const timer = setTimeout(() => done([]), METRICS_TIMEOUT_MS);
      this.#metrics.set(id, done);
      this.send({ t: 'metrics', id });
    });
  }

  /** Stops the process, and kills it when it is still running at the deadline. Resolves when it has ended. */
  async stop(deadlineMs: number): Promise<void> {
    if (this.#pause) clearTimeout(this.#pause);
    this.#pause = null;
    const child = this.#child;
    this.#become(child ? 'stopping' : 'stopped');
    if (child) {
      const ended = new Promise<void>((resolve) => {
        this.#onEnd = resolve;
      });
      this.send({ t: 'stop', deadlineMs: deadlineMs * 0.9 });
      const timer = setTimeout(() => {
        this.#log.error({ pid: child.pid }, 'worker process did not stop in time: killed');
        child.kill('SIGKILL');
      }, deadlineMs);
      await ended;
      clearTimeout(timer);
    }
    if (this.#watch) clearInterval(this.#watch);
    this.#watch = null;
  }

  #become(state: SlotState): void {
    if (state !== this.#state) this.#stateSince = Date.now();
    this.#state = state;
    this.#events.changed();
  }

  #begin(): void {
    this.#begunAt = performance.now();
    this.#silentLooks = 0;
    this.#failure = null;
    this.#replaced = false;
    const child = this.#fork();
    this.#child = child;
    child.on('message', (message) => this.#hear(child, message as FromWorker));
    child.once('exit', (code, signal) => this.#ended(child, signal ?? code ?? 'no code'));
    child.once('error', (error) => {
      this.#log.error({ err: error }, 'worker process');
      if (child.pid === undefined) this.#ended(child, error.message);
    });
    this.#become('starting');
  }

  #hear(child: ChildProcess, message: FromWorker): void {
    if (child !== this.#child) return;
    this.#silentLooks = 0;
    switch (message.t) {
      case 'started':
        this.#firstOutcome?.resolve();
        this.#firstOutcome = null;
        if (this.#state === 'starting') this.#become('running');
        return;
      case 'failed':
        this.#failure = Object.assign(new Error(message.message), { name: message.name });
        return;
      case 'state':
        this.#last = message.state;
        if (!message.state.live) this.#replace(child);
        this.#events.changed();
        return;
      case 'port':
        void this.#answerPort(message.id, message.port);
        return;
      case 'metrics':
        this.#metrics.get(message.id)?.(message.metrics);
    }
  }

  /** Only a restart fixes a stalled loop: the process stops in order, and another replaces it. */
  #replace(child: ChildProcess): void {
    if (this.#replaced || this.#state !== 'running') return;
    this.#replaced = true;
    this.#log.error({ pid: child.pid }, 'worker process is stuck: replaced');
    child.kill('SIGTERM');
  }

  async #answerPort(id: number, port: number): Promise<void> {
    try {
      await this.#events.clearPort(port);
      this.send({ t: 'port', id });
    } catch (error) {
      this.send({ t: 'port', id, problem: error instanceof Error ? error.message : String(error) });
    }
  }

  #ended(child: ChildProcess, how: string | number): void {
    if (child !== this.#child) return;
    this.#child = null;
    const incarnation = this.#last?.incarnation ?? null;
    this.#last = null;
    for (const done of [...this.#metrics.values()]) done([]);
    this.#events.ended(incarnation);
    const failure = this.#failure ?? new Error(`worker ${this.name} ended: ${how}`);
    this.#firstOutcome?.reject(failure);
    this.#firstOutcome = null;
    if (this.#state === 'stopping') {
      this.#become('stopped');
      this.#onEnd?.();
      return;
    }
    if (performance.now() - this.#begunAt >= STABLE_MS) this.#failures = 0;
    const pauseMs = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.#failures++);
    this.#log.error({ pid: child.pid, how, err: this.#failure, pauseMs }, 'worker process ended');
    this.#pause = setTimeout(() => {
      this.#pause = null;
      this.#restarts++;
      this.#begin();
    }, pauseMs);
    this.#become('waiting');
  }

  /** Counts checks, not milliseconds: after the machine slept, no worker counts as silent. */
  #look(): void {
    if (!this.#child || this.#state !== 'running') return;
    if (++this.#silentLooks < SILENT_LOOKS) return;
    this.#log.error({ pid: this.#child.pid }, 'worker process hangs: killed');
    this.#silentLooks = 0;
    this.#child.kill('SIGKILL');
  }
}
