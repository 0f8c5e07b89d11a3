import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { FloodStart, FloodState } from './flood-process.ts';
import { killChildren } from './kill-children.ts';

const ENTRY = fileURLToPath(new URL('./flood-process.js', import.meta.url));
const PROCESSES = 2;

/** A storm of strangers; runs from its start until it is stopped. */
export class Flood {
  readonly #children: ChildProcess[];

  private constructor(children: ChildProcess[]) {
    this.#children = children;
  }

  static async start(options: Omit<FloodStart, 'process'>): Promise<Flood> {
    const children = Array.from({ length: PROCESSES }, () =>
      fork(ENTRY, [], { execArgv: ['--no-deprecation'] }),
    );
    await Promise.all(children.map((child) => once(child, 'message')));
    for (const [number, child] of children.entries()) {
      const start: FloodStart = { ...options, perSecond: options.perSecond / PROCESSES, process: number };
      child.send(start);
    }
    return new Flood(children);
  }

  async state(): Promise<FloodState> {
    const states = await Promise.all(
      this.#children.map(async (child) => {
        child.send('state');
        return ((await once(child, 'message')) as [FloodState])[0];
      }),
    );
    const sum = (key: keyof FloodState): number => states.reduce((total, state) => total + state[key], 0);
    return {
      begun: sum('begun'),
      skipped: sum('skipped'),
      refused: sum('refused'),
      letIn: sum('letIn'),
      turnedAway: sum('turnedAway'),
      failed: sum('failed'),
    };
  }

  /** Idempotent. */
  async stop(): Promise<void> {
    await killChildren(this.#children);
  }
}
