/** An attacker's process, told which moves to make. */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Done, Wish } from './attacker-process.ts';
import type { Loot, Moves } from './moves.ts';

const FILE = fileURLToPath(new URL('./attacker-process.js', import.meta.url));

type Waiting = { resolve: (answer: unknown) => void; reject: (error: Error) => void };

export class Attacker {
  readonly #loot: Loot;
  readonly #waiting = new Map<number, Waiting>();
  #process: ChildProcess | undefined;
  #wishes = 0;

  /** Its process starts with its first move. */
  constructor(loot: Loot) {
    this.#loot = loot;
  }

  make<M extends keyof Moves>(move: M, ...args: Parameters<Moves[M]>): ReturnType<Moves[M]> {
    this.#process ??= this.#start();
    const id = ++this.#wishes;
    return new Promise<unknown>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#process?.send({ id, move, args } satisfies Wish);
    }) as ReturnType<Moves[M]>;
  }

  /** An attack is over: it listens nowhere. */
  async rest(): Promise<void> {
    if (this.#process) await this.make('close');
  }

  /** Idempotent. */
  stop(): void {
    if (this.#process?.connected) this.#process.disconnect();
  }

  #start(): ChildProcess {
    const child = fork(FILE, [JSON.stringify(this.#loot)], { serialization: 'advanced' });
    child.on('message', (done: Done) => {
      const waiting = this.#waiting.get(done.id);
      this.#waiting.delete(done.id);
      if ('error' in done) waiting?.reject(new Error(`the attacker failed: ${done.error}`));
      else waiting?.resolve(done.answer);
    });
    child.once('exit', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('the attacker is gone'));
    });
    return child;
  }
}
