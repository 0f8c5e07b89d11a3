import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { startGuard } from './guard.ts';

export interface ServiceOptions {
  /** For messages. */
  name: string;
  /** A temporary folder of the service's own, removed at the end. */
  folder: string;
  command: string;
  arguments: readonly string[];
  /** Which user runs it; ours when absent. */
  user?: { uid: number; gid: number } | undefined;
  env?: NodeJS.ProcessEnv;
  /** What asks the service to stop in good order, and what makes it stop at once yet tidily. */
  stopSignal: NodeJS.Signals;
  endSignal: 'KILL' | 'QUIT' | 'TERM';
  /** Resolves true once the service answers; polled. */
  answers(): Promise<boolean>;
  startTimeoutMs: number;
}

/**
 * A program that runs in the background for a test: started, killed, started again, and never left behind.
 */
export class Service {
  readonly #options: ServiceOptions;
  readonly #guard;
  #child: ChildProcess | undefined;
  #output = '';

  constructor(options: ServiceOptions) {
    this.#options = options;
    this.#guard = startGuard({ folder: options.folder, signal: options.endSignal });
  }

  /** Throws when the service does not run. */
  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error(`${this.#options.name} is not running`);
    return pid;
  }

  get running(): boolean {
    return this.#child !== undefined;
  }

  /** Resolves when it answers; rejects with its output when it ends before that or takes too long. */
  async start(): Promise<void> {
    const { name, command, user, folder, env, startTimeoutMs } = this.#options;
    this.#output = '';
    const child = spawn(command, this.#options.arguments, {
      cwd: folder,
      env: env ?? process.env,
      // A group of its own: ended as a whole, and out of reach of a Ctrl-C meant for the test.
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      ...user,
    });
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#output = (this.#output + text).slice(-20_000);
      });
    }
    let failure: string | undefined;
    child.once('error', (error) => {
      failure = error.message;
    });
    // Not `exit`: PostgreSQL's backends go on answering for a moment after the process that started them was
    // killed. They have inherited its output, which closes once the last of them has ended.
    child.once('close', (code, signal) => {
      failure = `it ended with ${signal ?? `exit code ${code}`}`;
      if (this.#child !== child) return;
      this.#child = undefined;
      this.#guard.watch(null);
    });
    if (child.pid !== undefined) {
      this.#child = child;
      this.#guard.watch(child.pid);
    }
    const deadline = performance.now() + startTimeoutMs;
    for (;;) {
      if (failure !== undefined) break;
      if (await this.#options.answers()) return;
      if (performance.now() > deadline) failure = `it did not answer within ${startTimeoutMs} ms`;
      else await new Promise((resolve) => setTimeout(resolve, 15));
    }
    await this.kill('SIGKILL');
    throw new Error(`${name} did not start: ${failure}\n${this.#output}`);
  }

  /**
   * Sends the signal, and waits for the end of the process and of all that it started if it is one that ends
   * it (not SIGSTOP, SIGCONT, SIGHUP). Does nothing when it is not running.
   */
  async kill(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    const ended = once(child, 'close');
    child.kill(signal);
    if (['SIGKILL', 'SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGABRT'].includes(signal)) await ended;
  }

  /** Stops in good order; kills what has not stopped after 10 s, or is frozen. */
  async halt(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    const timer = setTimeout(() => child.kill('SIGKILL'), 10_000);
    child.kill('SIGCONT');
    await this.kill(this.#options.stopSignal);
    clearTimeout(timer);
  }

  /** Halts it and removes its folder. Idempotent. */
  async stop(): Promise<void> {
    await this.halt();
    await this.#guard.release();
  }
}
