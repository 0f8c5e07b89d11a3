/** The bare uWebSockets.js program, in as many processes as needed, on one port. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { freePort } from '../../test/wait.ts';
import { killChildren } from '../load/kill-children.ts';
import type { BareOrder } from './publish-process.ts';

const ENTRY = fileURLToPath(new URL('./publish-process.js', import.meta.url));

export class BarePublisher {
  readonly port: number;
  readonly #children: ChildProcess[];

  private constructor(port: number, children: ChildProcess[]) {
    this.port = port;
    this.#children = children;
  }

  static async start(processes: number): Promise<BarePublisher> {
    const port = await freePort();
    const children = Array.from({ length: processes }, () => fork(ENTRY, [], { serialization: 'advanced' }));
    const bare = new BarePublisher(port, children);
    const order: BareOrder = { port };
    for (const child of children) {
      child.send(order);
      const [{ listening }] = (await once(child, 'message')) as [{ listening: boolean }];
      if (listening) continue;
      await bare.stop();
      throw new Error(`the bare program could not listen on port ${port}`);
    }
    return bare;
  }

  get pids(): number[] {
    return this.#children.map(({ pid }) => pid ?? 0);
  }

  /** To every connection of every process. */
  publish(bytes: Uint8Array): void {
    const order: BareOrder = { publish: bytes };
    for (const child of this.#children) child.send(order);
  }

  /** Idempotent. */
  async stop(): Promise<void> {
    await killChildren(this.#children);
  }
}
