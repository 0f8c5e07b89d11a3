/**
 * Thousands of devices, in as many processes as their descriptors need. They are the load, not the subject:
 * their CPU is reported separately.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { cpuMs, descriptorLimit } from '../measure/processes.ts';
import type { DialectName } from './dialects.ts';
import type { SwarmAnswers, SwarmProcessStart, SwarmRequest, SwarmState } from './swarm-messages.ts';

const ENTRY = fileURLToPath(new URL('./swarm-process.js', import.meta.url));
const STATE_INTERVAL_MS = 200;

export interface SwarmOptions {
  devices: number;
  dialect: DialectName;
  /** For the dialect. */
  options?: Record<string, string>;
  targets: readonly { host: string; port: number }[];
  /** Spreads devices over all targets; otherwise all dial the first one until told another. */
  spread?: boolean;
  /** Most handshakes at a time, in all processes together. */
  atOnce?: number;
}

interface Member {
  child: ChildProcess;
  from: number;
  to: number;
  pending: Map<number, { resolve: (answer: never) => void; reject: (error: Error) => void }>;
}

export class Swarm {
  readonly devices: number;
  readonly #atOnce: number;
  readonly #members: Member[];
  #requests = 0;
  #stopped = false;

  private constructor(options: SwarmOptions, members: Member[]) {
    this.devices = options.devices;
    this.#atOnce = options.atOnce ?? 256;
    this.#members = members;
  }

  /** Resolves when all processes run; no device is connected yet. */
  static async start(options: SwarmOptions): Promise<Swarm> {
    const perProcess = Math.min(17_500, descriptorLimit() - 500);
    const count = Math.max(Math.min(2, options.devices), Math.ceil(options.devices / perProcess));
    const share = Math.ceil(options.devices / count);
    const members: Member[] = [];
    for (let from = 0; from < options.devices; from += share) {
      const to = Math.min(options.devices, from + share);
      const child = fork(ENTRY, [], { serialization: 'advanced', execArgv: ['--no-deprecation'] });
      members.push({ child, from, to, pending: new Map() });
    }
    const swarm = new Swarm(options, members);
    const { dialect, targets } = options;
    await Promise.all(
      members.map((member) => {
        const start: SwarmProcessStart = {
          dialect,
          targets,
          options: options.options ?? {},
          spread: options.spread ?? false,
          from: member.from,
          to: member.to,
        };
        return swarm.#begin(member, start);
      }),
    );
    return swarm;
  }

  get pids(): number[] {
    return this.#members.map(({ child }) => child.pid ?? 0);
  }

  /** CPU of the load generator so far, milliseconds. */
  get cpuMs(): number {
    return cpuMs(this.pids);
  }

  /** Public keys in the order of the device numbers. */
  async prepare(): Promise<Uint8Array[]> {
    return (await this.#all({ op: 'prepare' })).flat();
  }

  /** Starts dialing, up to this many devices in all; `whenReady` resolves when it is done. */
  async open(devices = this.devices): Promise<void> {
    const share = devices / this.devices;
    await this.#all({ op: 'open', atOnce: Math.ceil(this.#atOnce / this.#members.length), share });
  }

  /** Stops dialing, and lets no device return. */
  async hold(): Promise<void> {
    await this.#all({ op: 'open', atOnce: 0, share: 0 });
    await this.returning(false);
  }

  async returning(on: boolean): Promise<void> {
    await this.#all({ op: 'returning', on });
  }

  async target(index: number): Promise<void> {
    await this.#all({ op: 'target', index });
  }

  /** Every n-th device stops reading; with 0 all read again. Returns how many stopped. */
  async stall(every: number): Promise<number> {
    return (await this.#all({ op: 'stall', every })).reduce((sum, count) => sum + count, 0);
  }

  /**
   * The devices whose number leaves `rest` when divided by `every` lose their connection; they come back if
   * they may.
   */
  async cut(every: number, rest: number): Promise<void> {
    await this.#all({ op: 'cut', every, rest: Math.floor(rest) });
  }

  /** Commands take the devices this long from now on; at first no time. */
  async work(ms: number): Promise<void> {
    await this.#all({ op: 'work', ms });
  }

  async state(): Promise<SwarmState> {
    const states = await this.#all({ op: 'state' });
    return {
      phases: sums(states.map(({ phases }) => phases)),
      counters: sums(states.map(({ counters }) => counters)),
    };
  }

  /** How many marks there are of a kind under a key. */
  async count(kind: string, key: string): Promise<number> {
    return (await this.#all({ op: 'count', kind, key })).reduce((sum, count) => sum + count, 0);
  }

  /** Hands over the marks of a kind, by key, each list in ascending order. */
  async take(kind: string): Promise<Map<string, Float64Array>> {
    const lists = new Map<string, number[]>();
    for (const answer of await this.#all({ op: 'take', kind })) {
      for (const [key, times] of answer) {
        const list = lists.get(key) ?? [];
        for (const time of times) list.push(time);
        lists.set(key, list);
      }
    }
    return new Map([...lists].map(([key, list]) => [key, Float64Array.from(list).sort()]));
  }

  /** Waits until this many devices are ready or the time is up; returns how many are ready. */
  async whenReady(count: number, timeoutMs: number): Promise<number> {
    const { phases } = await this.until(({ phases: { ready = 0 } }) => ready >= count, timeoutMs);
    return phases.ready ?? 0;
  }

  /** Polls until `holds` or the time is up; returns the last state. */
  async until(
    holds: (state: SwarmState) => boolean,
    timeoutMs = Number.POSITIVE_INFINITY,
  ): Promise<SwarmState> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const state = await this.state();
      if (holds(state) || performance.now() > deadline) return state;
      await new Promise((resolve) => setTimeout(resolve, STATE_INTERVAL_MS));
    }
  }

  async close(how: 'close' | 'reset' = 'reset'): Promise<void> {
    await this.#all({ op: 'close', how });
  }

  /** Cuts all connections and ends the processes. Idempotent. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    await Promise.all(
      this.#members.map(async ({ child }) => {
        if (child.exitCode !== null || child.signalCode !== null) return;
        const ended = new Promise((resolve) => child.once('exit', resolve));
        child.kill('SIGKILL');
        await ended;
      }),
    );
  }

  #begin(member: Member, start: SwarmProcessStart): Promise<null> {
    const { child, pending } = member;
    child.on('message', (message) => {
      const { number, answer } = message as { number: number; answer: never };
      pending.get(number)?.resolve(answer);
      pending.delete(number);
    });
    child.on('exit', (code, signal) => {
      const error = new Error(`a process of the load generator ended (${code ?? signal})`);
      for (const { reject } of pending.values()) reject(error);
      pending.clear();
    });
    const begun = new Promise<null>((resolve, reject) => pending.set(0, { resolve, reject }));
    child.send(start);
    return begun;
  }

  #all<R extends SwarmRequest>(request: R): Promise<SwarmAnswers[R['op']][]> {
    return Promise.all(
      this.#members.map(({ child, pending }) => {
        const number = ++this.#requests;
        return new Promise<SwarmAnswers[R['op']]>((resolve, reject) => {
          pending.set(number, { resolve, reject });
          child.send({ number, request }, (error) => error && reject(error));
        });
      }),
    );
  }
}

function sums<K extends string>(
  records: readonly Partial<Record<K, number>>[],
): Partial<Record<K, number>> & Record<string, number> {
  const sum: Record<string, number> = {};
  for (const record of records) {
    for (const [name, value] of Object.entries<number | undefined>(record))
      sum[name] = (sum[name] ?? 0) + (value ?? 0);
  }
  return sum as Partial<Record<K, number>> & Record<string, number>;
}
