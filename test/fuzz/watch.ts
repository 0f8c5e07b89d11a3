/**
 * The programs while they are fuzzed: the same processes at the end, none of them grown, none with an error
 * to tell.
 */
import { readFile } from 'node:fs/promises';
import type { Lab } from '../e2e/lab.ts';

/** Until then of all frames, memory is what a program needs for its work; after it must not grow. */
const WARM_UP = 0.3;
/** Of a program after its warm-up, MiB: garbage that is not collected yet. */
export const GROWTH_LIMIT = 64;
const ERROR_LEVEL = 50;

/** Largest resident memory, MiB. */
interface Grown {
  warm: number;
  later: number;
  /** Of each tenth of the frames, for people. */
  tenths: number[];
}

export class Watch {
  readonly #lab: Lab;
  readonly #gateways: string;
  readonly #processes = new Map<string, number>();
  readonly #memory = new Map<string, Grown>();

  private constructor(lab: Lab, gateways: string) {
    this.#lab = lab;
    this.#gateways = gateways;
  }

  static async start(lab: Lab, gateway: string): Promise<Watch> {
    const watch = new Watch(lab, gateway);
    for (const pid of await watch.#workers()) watch.#processes.set(`worker ${watch.#processes.size}`, pid);
    watch.#processes.set('gateway', lab.deployment.program('gw1').pid);
    watch.#processes.set('admin', lab.deployment.program('admin').pid);
    return watch;
  }

  async look(progress: number): Promise<void> {
    for (const [name, pid] of this.#processes) {
      const mib = await residentMiB(pid);
      const memory = this.#memory.get(name) ?? { warm: 0, later: 0, tenths: [] };
      this.#memory.set(name, memory);
      const tenth = Math.min(9, Math.floor(progress * 10));
      memory.tenths[tenth] = Math.max(memory.tenths[tenth] ?? 0, Math.round(mib));
      if (progress < WARM_UP) memory.warm = Math.max(memory.warm, mib);
      else memory.later = Math.max(memory.later, mib);
    }
  }

  /** MiB: at most after the warm-up less at most in it, of whichever grew most. */
  get grown(): number {
    return Math.round(Math.max(...[...this.#memory.values()].map(({ warm, later }) => later - warm)));
  }

  get memory(): Record<string, string> {
    return Object.fromEntries([...this.#memory].map(([name, { tenths }]) => [name, tenths.join(' ')]));
  }

  /** What a crash, a hang or an error left behind. */
  async problems(): Promise<string[]> {
    const { deployment } = this.#lab;
    const problems: string[] = [];
    const before = [...this.#processes].filter(([name]) => name.startsWith('worker')).map(([, pid]) => pid);
    const now = await this.#workers();
    if (before.join() !== now.join()) problems.push(`workers ${before.join()} are ${now.join()} now`);
    for (const name of deployment.programs) {
      const { running, lines } = deployment.program(name);
      if (!running) problems.push(`${name} does not run any more`);
      const errors = lines.filter(isError);
      if (errors.length > 0) problems.push(`${name} logged ${errors.length} errors, the first: ${errors[0]}`);
    }
    const ready = await fetch(`${deployment.server}/ready`, { signal: AbortSignal.timeout(10_000) });
    if (ready.status !== 200) problems.push(`the administration server is not ready: ${await ready.text()}`);
    return problems;
  }

  async #workers(): Promise<number[]> {
    const { items } = await this.#lab.operator.gateways();
    const gateway = items.find(({ name }) => name === this.#gateways);
    return (gateway?.workers ?? []).map(({ pid }) => pid).sort((a, b) => a - b);
  }
}

async function residentMiB(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) / 1_024;
}

function isError(line: string): boolean {
  if (!line.startsWith('{')) return !line.startsWith('ready ') && /error|exception/i.test(line);
  try {
    return (JSON.parse(line) as { level: number }).level >= ERROR_LEVEL;
  } catch {
    return true;
  }
}
