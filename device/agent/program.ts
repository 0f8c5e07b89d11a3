/**
 * One run of a configured program: without a shell, in a process group of its own, with nothing on its input.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import type { TaskConfig } from './config.ts';
import { OutputTail } from './output-tail.ts';
import { ProcessGroup, RUN_VARIABLE } from './process-group.ts';
import { taskEnvironment } from './task-environment.ts';

export interface ProgramEnd {
  /** Absent when a signal ended it, and for one whose end nobody saw. */
  exitStatus?: number;
  signal?: string;
  output: string;
}

/** Something that runs: started by this agent or taken over from an earlier one. */
export interface Run {
  /** Id of the command that started it. */
  readonly command: string;
  /** Milliseconds since the Unix epoch. */
  readonly startedAt: number;
  /** Goes on when the agent ends. */
  readonly kept: boolean;
  /** When it was told to stop: once its whole group has ended. Rejects when it could not be started. */
  readonly ended: Promise<ProgramEnd>;
  /** SIGTERM to the group, SIGKILL after a while to all that are left of it. Resolves when it has ended. */
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

/**
 * A grandchild may hold the pipes open after the program ended: not waited for longer than this,
 * milliseconds.
 */
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
    // What outlives the agent must not write to a pipe that nobody reads then.
    const output = kept ? 'ignore' : 'pipe';
    const child = spawn(config.command, config.args, {
      stdio: ['ignore', output, output],
      detached: true,
      shell: false,
      ...(config.cwd === undefined ? {} : { cwd: config.cwd }),
      env: { ...taskEnvironment(config), [RUN_VARIABLE]: run },
    });
    this.#child = child;
    // An agent that ends does not wait for what goes on.
    if (kept) child.unref();
    this.#group = child.pid === undefined ? null : new ProcessGroup(child.pid);
    child.stdout?.on('data', (chunk: Buffer) => tail.add(chunk));
    child.stderr?.on('data', (chunk: Buffer) => tail.add(chunk));
    this.ended = new Promise((resolve, reject) => {
      const end = async (code: number | null, signal: NodeJS.Signals | null) => {
        // Whoever ignores SIGTERM outlives the leader, and gets SIGKILL.
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
    // Whoever asks gets the rejection; nobody having asked yet is not an accident.
    this.ended.catch(() => undefined);
  }

  /** Of the group as well; absent when it could not be started. */
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

/** Between two looks at a run of an earlier agent, milliseconds: only a parent is told of the end. */
const FOLLOW_MS = 1_000;

/** A run of an earlier agent. Its output and its exit status went with that agent. */
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
    // Its id may be that of strangers now.
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
        // It must not keep an agent that ends.
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
