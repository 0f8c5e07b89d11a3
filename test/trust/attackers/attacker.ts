/** An attacker's process, told which moves to make. */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Done, Wish } from './attacker-process.ts';
import type { Loot, Moves } from './moves.ts';

const FILE = fileURLToPath(new URL('./attacker-process.js', import.meta.url));

type Waiting = { resolve: (answer: unknown) => void; reject: (error: Error) => void };

export class Attacker {
  readonly #process: ChildProcess;
  readonly #waiting = new Map<number, Waiting>();
  #wishes = 0;

  constructor(loot: Loot) {
    this.#process = fork(FILE, [JSON.stringify(loot)], { serialization: 'advanced' });
    this.#process.on('message', (done: Done) => {
      const waiting = this.#waiting.get(done.id);
      this.#waiting.delete(done.id);
      if ('error' in done) waiting?.reject(new Error(`the attacker failed: ${done.error}`));
      else waiting?.resolve(done.answer);
    });
    this.#process.once('exit', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('the attacker is gone'));
    });
  }

  make<M extends keyof Moves>(move: M, ...args: Parameters<Moves[M]>): ReturnType<Moves[M]> {
    const id = ++this.#wishes;
    return new Promise<unknown>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#process.send({ id, move, args } satisfies Wish);
    }) as ReturnType<Moves[M]>;
  }

  /** Idempotent. */
  stop(): void {
    if (this.#process.connected) this.#process.disconnect();
  }
}
