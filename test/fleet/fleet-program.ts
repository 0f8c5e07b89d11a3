/** A fleet process from outside: what it is told, and how it is killed and started again. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { FromFleet, News, Order } from './fleet-messages.ts';

const ORDER_LIMIT_MS = 120_000;
const ENTRY = fileURLToPath(new URL('./fleet-process.js', import.meta.url));

export interface FleetProcessOptions {
  /** Where its devices are kept, so that they survive the process; in memory when absent. */
  folder?: string;
  /** Added to the environment. */
  env?: Record<string, string>;
}

export class FleetProcess {
  readonly options: FleetProcessOptions;
  readonly #onNews: (news: News[]) => void;
  readonly #waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  #child: ChildProcess | undefined;
  #nextId = 0;
  #output = '';

  constructor(options: FleetProcessOptions, onNews: (news: News[]) => void) {
    this.options = options;
    this.#onNews = onNews;
    this.start();
  }

  get output(): string {
    return this.#output;
  }

  get running(): boolean {
    return this.#child !== undefined;
  }

  /** Starts it when it does not run. */
  start(): void {
    if (this.#child) return;
    const { folder, env } = this.options;
    const child = fork(ENTRY, folder === undefined ? [] : [folder], {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      ...(env && { env: { ...process.env, ...env } }),
    });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#output = (this.#output + text).slice(-4_000);
      });
    }
    child.on('message', (message) => {
      const said = message as FromFleet;
      if ('news' in said) return this.#onNews(said.news);
      const waiting = this.#waiting.get(said.id);
      if (said.error === undefined) waiting?.resolve(said.value);
      else waiting?.reject(new Error(said.error));
    });
    child.once('exit', (code, signal) => {
      this.#child = undefined;
      const error = new Error(`a fleet process ended (${signal ?? code}): ${this.#output}`);
      for (const { reject } of this.#waiting.values()) reject(error);
    });
  }

  async ask<T>(order: Order): Promise<T> {
    const child = this.#child;
    if (!child) throw new Error(`a fleet process has ended: ${this.#output}`);
    const id = ++this.#nextId;
    let timer: NodeJS.Timeout | undefined;
    try {
      return (await new Promise<unknown>((resolve, reject) => {
        this.#waiting.set(id, { resolve, reject });
        const late = () =>
          reject(new Error(`a fleet process did not ${order.do} within ${ORDER_LIMIT_MS} ms`));
        timer = setTimeout(late, ORDER_LIMIT_MS);
        child.send({ id, order });
      })) as T;
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(id);
    }
  }

  /** SIGSTOP or SIGCONT. */
  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child?.kill(signal);
  }

  /** kill -9; resolves when it has ended. Idempotent. */
  async kill(): Promise<void> {
    if (!this.#child) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await ended;
  }
}
