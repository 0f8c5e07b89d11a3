/** One run of a configured program: without a shell, in a process group of its own, with nothing on its input. */
import { type ChildProcess, spawn } from 'node:child_process';
import type { TaskConfig } from './config.ts';
import { OutputTail } from './output-tail.ts';
import { taskEnvironment } from './task-environment.ts';

export interface ProgramEnd {
  exitStatus?: number;
  signal?: string;
  output: string;
}

/** Time from SIGTERM to SIGKILL, milliseconds. */
const KILL_AFTER_MS = 10_000;
/** A grandchild may hold the pipes open after the program ended: not waited for longer than this, milliseconds. */
const PIPES_MS = 500;

export class Program {
  readonly startedAt = performance.now();
  /** Rejects when it cannot be started. */
  readonly ended: Promise<ProgramEnd>;
  readonly #child: ChildProcess;
  #killTimer: ReturnType<typeof setTimeout> | undefined;
  #over = false;

  constructor(config: TaskConfig, outputTailBytes: number) {
    const tail = new OutputTail(outputTailBytes);
    this.#child = spawn(config.command, config.args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
      shell: false,
      ...(config.cwd === undefined ? {} : { cwd: config.cwd }),
      env: taskEnvironment(config),
    });
    this.#child.stdout?.on('data', (chunk: Buffer) => tail.add(chunk));
    this.#child.stderr?.on('data', (chunk: Buffer) => tail.add(chunk));
    this.ended = new Promise((resolve, reject) => {
      const end = (code: number | null, signal: NodeJS.Signals | null) => {
        const made: ProgramEnd = { output: tail.text() };
        if (code !== null) made.exitStatus = code;
        if (signal !== null) made.signal = signal;
        this.#finish();
        resolve(made);
      };
      this.#child.once('error', (error) => {
        this.#finish();
        reject(error);
      });
      this.#child.once('close', end);
      this.#child.once('exit', (code, signal) => setTimeout(() => end(code, signal), PIPES_MS).unref());
    });
    // Whoever asks gets the rejection; nobody having asked yet is not an accident.
    this.ended.catch(() => undefined);
  }

  /** SIGTERM to the group, SIGKILL after a while (ten seconds). Resolves when the program has ended. */
  async stop(killAfterMs = KILL_AFTER_MS): Promise<void> {
    if (this.#over) return;
    this.#signal('SIGTERM');
    clearTimeout(this.#killTimer);
    this.#killTimer = setTimeout(() => this.#signal('SIGKILL'), killAfterMs);
    await this.ended.catch(() => undefined);
  }

  #finish(): void {
    this.#over = true;
    clearTimeout(this.#killTimer);
    this.#child.stdout?.destroy();
    this.#child.stderr?.destroy();
  }

  #signal(signal: NodeJS.Signals): void {
    const { pid } = this.#child;
    if (pid === undefined || this.#over) return;
    try {
      if (process.platform === 'win32') this.#child.kill(signal);
      else process.kill(-pid, signal);
    } catch (error) {
      // ESRCH: it ended by itself in this very moment.
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
}
