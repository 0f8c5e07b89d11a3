/** One run of a configured program: without a shell, in its own process group, with an empty input. */
import { type ChildProcess, spawn } from 'node:child_process';
import type { TaskConfig } from './config.ts';
import { OutputTail } from './output-tail.ts';
import { ProcessGroup, RUN_VARIABLE } from './process-group.ts';
import { taskEnvironment } from './task-environment.ts';

export interface ProgramEnd {
  /** Absent if a signal ended it, or if the agent did not see its end. */
  exitStatus?: number;
  signal?: string;
  output: string;
}

/** A running program: started by this agent, or resumed from a previous one. */
export interface Run {
  /** Id of the command that started it. */
  readonly command: string;
  /** Milliseconds since the Unix epoch. */
  readonly startedAt: number;
  /** Continues when the agent ends. */
  readonly kept: boolean;
  /**
   * Resolves when the program has ended; after a stop, when its whole group has ended. Rejects if it could
   * not be started.
   */
  readonly ended: Promise<ProgramEnd>;
  /** SIGTERM to the group, and after a while SIGKILL to what is left of it. Resolves when it has ended. */
  stop(killAfterMs: number): Promise<void>;
  /** SIGKILL to the group, at once. */
  kill(): void;
}

export interface ProgramOptions {
  /** Id of this run. */
  run: string;
  command: string;
  outputTailBytes: number;
  kept?: boolean;
}

/** A grandchild may hold the pipes open after the program ended: longest wait for that, milliseconds. */
const PIPES_MS = 500;

export class Program implements Run {
  readonly startedAt = Date.now();
  readonly command: string;
  readonly kept: boolean;
  readonly ended: Promise<ProgramEnd>;
  readonly #child: ChildProcess;
  readonly #group: ProcessGroup | null;
  #stopping: Promise<void> | null = null;
  #over = false;

  constructor(config: TaskConfig, { run, command, outputTailBytes, kept = false }: ProgramOptions) {
    this.command = command;
    this.kept = kept;
    const tail = new OutputTail(outputTailBytes);
    // A program that outlives the agent must not write to a pipe that nobody reads.
    const output = kept ? 'ignore' : 'pipe';
    const child = spawn(config.command, config.args, {
      stdio: ['ignore', output, output],
      detached: true,
      shell: false,
      ...(config.cwd === undefined ? {} : { cwd: config.cwd }),
      env: { ...taskEnvironment(config), [RUN_VARIABLE]: run },
    });
    this.#child = child;
    // An agent that ends does not wait for programs that continue.
    if (kept) child.unref();
    this.#group = child.pid === undefined ? null : new ProcessGroup(child.pid);
    child.stdout?.on('data', (chunk: Buffer) => tail.add(chunk));
    child.stderr?.on('data', (chunk: Buffer) => tail.add(chunk));
    this.ended = new Promise((resolve, reject) => {
      const end = async (code: number | null, signal: NodeJS.Signals | null) => {
        // A process that ignores SIGTERM outlives the leader and gets SIGKILL.
        await this.#stopping;
        const made: ProgramEnd = { output: tail.text() };
        if (code !== null) made.exitStatus = code;
        if (signal !== null) made.signal = signal;
        this.#finish();
        resolve(made);
      };
      child.once('error', (error) => {
        this.#finish();
        reject(error);
      });
      child.once('close', end);
      child.once('exit', (code, signal) => setTimeout(() => end(code, signal), PIPES_MS).unref());
    });
    // Callers get the rejection; it is fine if there is no caller yet.
    this.ended.catch(() => undefined);
  }

  /** Also the id of the group; absent if it could not be started. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  async stop(killAfterMs: number): Promise<void> {
    if (this.#over) return;
    this.#stopping = this.#group?.end(killAfterMs) ?? null;
    await this.ended.catch(() => undefined);
  }

  kill(): void {
    if (!this.#over) this.#group?.signal('SIGKILL');
  }

  #finish(): void {
    this.#over = true;
    this.#child.stdout?.destroy();
    this.#child.stderr?.destroy();
  }
}

/**
 * Interval between checks of a run of a previous agent, milliseconds: the system reports an end to the parent
 * only.
 */
const FOLLOW_MS = 1_000;

/** A run of a previous agent. Its output and its exit status are lost with that agent. */
export class TakenOver implements Run {
  readonly startedAt: number;
  readonly command: string;
  readonly kept: boolean;
  readonly ended: Promise<ProgramEnd>;
  readonly #group: ProcessGroup;
  #stopping: Promise<void> | null = null;
  #over = false;
  #look: () => void = () => {};

  constructor(
    group: ProcessGroup,
    { command, startedAt, kept }: Pick<Run, 'command' | 'startedAt' | 'kept'>,
  ) {
    this.#group = group;
    this.command = command;
    this.startedAt = startedAt;
    this.kept = kept;
    this.ended = this.#follow();
  }

  async stop(killAfterMs: number): Promise<void> {
    // Another program may have its id by now.
    if (this.#over) return;
    this.#stopping = this.#group.end(killAfterMs);
    this.#look();
    await this.ended;
  }

  kill(): void {
    if (!this.#over) this.#group.signal('SIGKILL');
  }

  async #follow(): Promise<ProgramEnd> {
    while (!this.#group.empty) {
      if (this.#stopping) {
        await this.#stopping;
        break;
      }
      await new Promise<void>((resolve) => {
        // It must not keep an ending agent alive.
        const timer = setTimeout(resolve, FOLLOW_MS).unref();
        this.#look = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.#over = true;
    return { output: '' };
  }
}
