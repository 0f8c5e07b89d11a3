/**
 * What a scenario is, and what it gets to work with: it says what it does, gives figures and invariants,
 * nothing else.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { STILL_MS } from './measure/clock.ts';
import { machineCpu, memoryUse } from './measure/processes.ts';
import type { Row, Rows } from './rows.ts';

export interface Scenario {
  name: string;
  /** What it measures, in a line. */
  title: string;
  /** Devices when nobody says how many: for a measurement, and for `quick`. */
  devices: number;
  quickDevices: number;
  run(bench: Bench): Promise<void>;
}

export interface BenchOptions {
  scenario: string;
  devices: number;
  /** Small and short: figures are told and not judged. */
  quick: boolean;
  /** Of PostgreSQL to measure with; SQLite without it. */
  databaseUrl: string | undefined;
  /** Where databases with recorded devices are kept from run to run. */
  keepDir: string | undefined;
  /** Where the server programs leave CPU profiles; they make none without it. */
  profileDir: string | undefined;
  /** Memory the machine may have in use before the scenario is given up, bytes. */
  memoryLimit: number;
  /** When scenarios that take as much time as there is have to be done, by `performance.now()`. */
  doneBy?: number;
  /** Rows of an earlier run, for scenarios that calculate with measured figures. */
  measuredFile?: string | undefined;
  /** Scenarios that make documents write them. */
  writeDocs?: boolean;
}

type Bound = { atMost: number } | { atLeast: number };

interface Stoppable {
  stop(): Promise<unknown>;
}

const MEMORY_LOOK_MS = 500;

export class MemoryExhausted extends Error {
  override readonly name = 'MemoryExhausted';
}

export class Bench {
  /** Whose rows these are; a run of several parts changes it. */
  scenario: string;
  readonly devices: number;
  readonly quick: boolean;
  readonly databaseUrl: string | undefined;
  readonly keepDir: string | undefined;
  readonly profileDir: string | undefined;
  readonly measuredFile: string | undefined;
  readonly writeDocs: boolean;
  readonly #memoryLimit: number;
  readonly #doneBy: number;
  readonly #rows: Rows;
  readonly #began = performance.now();
  readonly #parts: Stoppable[] = [];
  readonly #cpu = machineCpu();

  constructor(options: BenchOptions, rows: Rows) {
    this.devices = options.devices;
    this.quick = options.quick;
    this.databaseUrl = options.databaseUrl;
    this.keepDir = options.keepDir;
    this.profileDir = options.profileDir;
    this.measuredFile = options.measuredFile;
    this.writeDocs = options.writeDocs ?? false;
    this.scenario = options.scenario;
    this.#memoryLimit = options.memoryLimit;
    this.#doneBy = options.doneBy ?? Number.POSITIVE_INFINITY;
    this.#rows = rows;
  }

  /** Progress, for people. */
  say(text: string): void {
    const seconds = ((performance.now() - this.#began) / 1_000).toFixed(1).padStart(6);
    process.stderr.write(`${seconds} s  ${this.scenario}: ${text}\n`);
  }

  /** Memory that may still be taken before the scenario is given up, bytes. */
  get roomBytes(): number {
    return this.#memoryLimit - memoryUse().used;
  }

  /** Milliseconds until whoever takes as much time as there is has to be done. */
  get timeLeftMs(): number {
    return this.#doneBy - performance.now();
  }

  /** One measured figure. A bound is judged unless the run is a quick one. */
  figure(what: string, unit: string, figure: number, bound?: Bound): void {
    const judged = bound !== undefined && !this.quick;
    const row: Row = {
      scenario: this.scenario,
      what,
      unit,
      bound: judged ? (Object.values(bound)[0] ?? null) : null,
      figure,
      held: judged ? within(figure, bound) : null,
    };
    this.#rows.add(row);
  }

  /** Something that must be so at any scale and on any machine: how often it was not, which must be never. */
  invariant(what: string, violations: number): void {
    this.#rows.add({
      scenario: this.scenario,
      what,
      unit: 'violations',
      bound: 0,
      figure: violations,
      held: violations === 0,
    });
  }

  /** `part` is stopped at the end of the scenario, the last first. */
  use<T extends Stoppable>(part: T): T {
    this.#parts.push(part);
    return part;
  }

  /**
   * How much of the machine somebody else used since the scenario began: what the other figures are worth.
   */
  disturbance(): void {
    const { all, busy, own } = machineCpu();
    const cpu = this.#cpu;
    const others = busy - cpu.busy - (own - cpu.own);
    this.figure(
      'share of the machine that others used meanwhile',
      '%',
      (Math.max(0, others) / (all - cpu.all)) * 100,
    );
  }

  /** Ends the parts used so far, the last first; idempotent. */
  async stop(): Promise<void> {
    for (const part of this.#parts.splice(0).reverse()) await part.stop();
  }

  async pause(ms: number): Promise<void> {
    await pause(ms);
  }

  /**
   * Waits until there are as many as `wanted`, or no more have come for a minute: what is lost is judged by
   * that, and never by how slow the machine is. Resolves with how many there are.
   */
  async until(wanted: number, there: () => number | Promise<number>, lookMs = 50): Promise<number> {
    let most = Number.NEGATIVE_INFINITY;
    for (let cameAt = performance.now(); ; await pause(lookMs)) {
      const count = await there();
      if (count >= wanted || performance.now() - cameAt > STILL_MS) return count;
      if (count > most) cameAt = performance.now();
      most = Math.max(most, count);
    }
  }

  /**
   * Does `work`, and rejects with `MemoryExhausted` as soon as the machine has more memory in use than it
   * may.
   */
  async watched<T>(work: Promise<T>): Promise<T> {
    const ended = new AbortController();
    const watch = async (): Promise<never> => {
      for (;;) {
        await pause(MEMORY_LOOK_MS, undefined, { signal: ended.signal });
        const { used } = memoryUse();
        if (used > this.#memoryLimit) {
          throw new MemoryExhausted(`${(used / 2 ** 30).toFixed(1)} GiB of memory are in use: given up`);
        }
      }
    };
    try {
      return await Promise.race([work, watch()]);
    } finally {
      ended.abort();
    }
  }
}

function within(figure: number, bound: Bound): boolean {
  return 'atMost' in bound ? figure <= bound.atMost : figure >= bound.atLeast;
}
