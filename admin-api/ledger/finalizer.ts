import type { Logger } from 'pino';
import { OneAtATime } from '../../bus/one-at-a-time.ts';
import type { ExecutionState } from '../../protocol/index.ts';
import type { BestEffortSender } from '../best-effort-sender.ts';
import type { CommandFrames } from '../dispatch/command-frames.ts';
import type { AdminMetrics } from '../metrics.ts';
import type { Outcomes } from '../outcomes.ts';
import { END_CAUSES, markable } from '../store/end-causes.ts';
import type { Clock, DueExecution, ExecutionKey, Store } from '../store/store.ts';
import { type Frontier, isAway } from './frontier.ts';

const CHUNK = 2000;
const CLOCKS: readonly Clock[] = ['finish', 'delivery', 'ending'];
/** A report that a device sends just in time takes a moment to its gateway, and still counts. */
const WORD_ON_ITS_WAY_MS = 500;
/** The longest time between two looks at what is due next. */
const LOOK_EVERY_MS = 500;
/**
 * While due executions wait for gateways, the next pass follows after `WAIT_PER_MS` times as long as a pass
 * takes, within these bounds.
 */
const WAIT_MIN_MS = 150;
const WAIT_MAX_MS = 5_000;
const WAIT_PER_MS = 10;
/** Pause between two passes when nothing waits for gateways. */
const NEXT_MS = 20;
/** How often all executions past their deliver-by time are read again: rows may have been inserted late. */
const ALL_EXPIRED_EVERY_MS = 60_000;
/** A reason names at most this many workers. */
const NAMES_MAX = 3;

export interface FinalizerParts {
  store: Store;
  frontier: Frontier;
  outcomes: Outcomes;
  sender: BestEffortSender;
  frames: CommandFrames;
  metrics: AdminMetrics;
  now: () => number;
  log: Logger;
}

interface End {
  from: readonly ExecutionState[];
  state: ExecutionState;
  reason: string;
}

/**
 * Ends executions whose time is over or that are marked to end (`end-causes.ts`). It ends each one only after
 * the ledger has applied everything that gateways had received by the moment that counts. Each step is safe
 * to repeat, and to run on several servers at once.
 */
export class Finalizer {
  readonly #parts: FinalizerParts;
  readonly #passes: OneAtATime;
  #timer: NodeJS.Timeout | undefined;
  #stopped = true;
  #failing = false;
  /** No queued or sent execution is left of commands whose deliver-by time is up to this one. */
  #expiredUpTo = 0;
  #expiredAllAt = Number.NEGATIVE_INFINITY;

  constructor(parts: FinalizerParts) {
    this.#parts = parts;
    this.#passes = new OneAtATime(
      () => this.#pass(),
      (error) => {
        // One warning is enough while the store is away.
        const level = this.#failing ? 'debug' : 'warn';
        this.#failing = true;
        parts.log[level]({ err: error }, 'due executions could not be ended; trying again');
        this.#again(LOOK_EVERY_MS);
      },
    );
  }

  get rounds(): number {
    return this.#passes.rounds;
  }

  start(): void {
    this.#stopped = false;
    void this.soon();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#passes.settled();
    clearTimeout(this.#timer);
  }

  /** Ends all executions that may end now; resolves when that is done. */
  soon(): Promise<void> {
    return this.#passes.ask();
  }

  #again(delayMs: number): void {
    clearTimeout(this.#timer);
    if (!this.#stopped) this.#timer = setTimeout(() => void this.soon(), delayMs);
  }

  async #pass(): Promise<void> {
    const { store, now } = this.#parts;
    const begunAt = performance.now();
    if (begunAt - this.#expiredAllAt >= ALL_EXPIRED_EVERY_MS) {
      this.#expiredAllAt = begunAt;
      this.#expiredUpTo = 0;
    }
    const next = await store.executions.nextDue(this.#expiredUpTo);
    this.#failing = false;
    const at = now();
    if (next === null || next >= at) {
      this.#again(next === null ? LOOK_EVERY_MS : Math.min(LOOK_EVERY_MS, next - at + 1));
      return;
    }
    await this.#fromGateways(() => this.#parts.frontier.refresh());
    let waiting = 0;
    for (const clock of CLOCKS) waiting += await this.#endDue(clock, at);
    if (waiting > 0) await this.#fromGateways(() => this.#parts.frontier.ask());
    const tookMs = performance.now() - begunAt;
    const pauseMs = Math.min(WAIT_MAX_MS, Math.max(WAIT_MIN_MS, tookMs * WAIT_PER_MS));
    this.#again(waiting > 0 ? pauseMs : NEXT_MS);
  }

  async #fromGateways(step: () => Promise<void>): Promise<void> {
    try {
      await step();
    } catch (error) {
      if (!isAway(error)) throw error;
      this.#parts.log.debug({ err: error }, 'gateways cannot be asked; sent executions do not end yet');
    }
  }

  /** Returns how many due executions have to wait. */
  async #endDue(clock: Clock, at: number): Promise<number> {
    const { store } = this.#parts;
    let after: DueExecution | null = null;
    let waiting = 0;
    let firstWaiting = at;
    for (;;) {
      const due: DueExecution[] = await store.executions.due(clock, at, after, CHUNK, this.#expiredUpTo);
      const ends = new Map<string, { end: End; rows: DueExecution[] }>();
      for (const row of due) {
        const end = this.#endOf(clock, row, at);
        if (end === null) {
          waiting++;
          firstWaiting = Math.min(firstWaiting, row.asOf);
          continue;
        }
        const key = `${end.state} ${end.from[0]} ${end.reason}`;
        const same = ends.get(key);
        if (same) same.rows.push(row);
        else ends.set(key, { end, rows: [row] });
      }
      for (const { end, rows } of ends.values()) await this.#end(end, rows);
      after = due.at(-1) ?? null;
      if (due.length < CHUNK) break;
    }
    if (clock === 'delivery') this.#expiredUpTo = firstWaiting - 1;
    return waiting;
  }

  /** `null`: it may not end yet. */
  #endOf(clock: Clock, row: DueExecution, at: number): End | null {
    const { asOf, ending, state, attempts, session, through } = row;
    if (clock === 'delivery' && state === 'queued' && attempts === 0) {
      return { from: ['queued'], state: 'expired', reason: 'not delivered in time' };
    }
    const graceMs = clock === 'ending' && ending !== 'cancel' ? 0 : WORD_ON_ITS_WAY_MS;
    if (asOf + graceMs > at) return null;
    const verdict = this.#parts.frontier.verdict(asOf + graceMs, session, through);
    if (verdict === 'wait') return null;
    const end = endBy(clock, row);
    const { unheard } = verdict;
    if (unheard.length === 0) return end;
    const names = unheard.slice(0, NAMES_MAX).join(', ') + (unheard.length > NAMES_MAX ? ', …' : '');
    return { ...end, reason: `${end.reason}; ${names} not heard from` };
  }

  async #end({ from, state, reason }: End, rows: readonly DueExecution[]): Promise<void> {
    const { outcomes, metrics } = this.#parts;
    const ended = await outcomes.finish(rows, from, state, reason);
    const heard = reason.endsWith('not heard from') ? 'no' : 'yes';
    metrics.ended.inc({ state, heard }, ended.length);
    if (state === 'timed-out') await this.#askToStop(ended);
  }

  async #askToStop(keys: readonly ExecutionKey[]): Promise<void> {
    const { sender, frames, now } = this.#parts;
    await sender.send(
      keys.map(({ command, device }) => ({
        devices: [device],
        frame: frames.cancelForDevice(command, device, now()),
      })),
    );
  }
}

function endBy(clock: Clock, { ending, state }: DueExecution): End {
  if (clock === 'finish') {
    return { from: ['acked', 'running'], state: 'timed-out', reason: 'the device did not finish in time' };
  }
  if (clock === 'delivery' || ending === null) {
    return { from: ['queued', 'sent'], state: 'expired', reason: 'sent, but never acknowledged' };
  }
  const kind = END_CAUSES[ending];
  const acknowledged = state === 'acked' || state === 'running';
  const reason = acknowledged && 'acknowledged' in kind ? kind.acknowledged : kind.sent;
  return { from: markable(ending), state: kind.state, reason };
}
