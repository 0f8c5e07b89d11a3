/**
 * The lifecycle of all programs: parts start in order and stop in reverse, within a deadline, at the first
 * SIGTERM or SIGINT; a second signal ends the process at once. Exit code 0 after an orderly stop. Whatever
 * hangs, the process ends soon after the deadline.
 */
import { formatDuration } from '../config/duration.ts';
import { EXIT, type ExitCode } from '../exit-codes.ts';
import type { Shell } from '../shell.ts';
import { ServiceManager } from './service-manager.ts';
import { startError } from './start-errors.ts';
import { killAt } from './stop-watchdog.ts';

export interface Part {
  name: string;
  start(): Promise<unknown>;
  /**
   * Idempotent. If called while `start` runs, it makes `start` end soon and releases what `start` has
   * created; `start` may then resolve or reject.
   */
  stop(): Promise<unknown>;
}

export interface StopLog {
  info(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** Parts that start and stop together. */
export class Assembly {
  readonly #parts: readonly Part[];
  readonly #log: StopLog;
  #started: Part[] = [];
  /** The start of the part that is starting; it never rejects. */
  #starting: Promise<unknown> = Promise.resolve();
  #stopping: Promise<boolean> | null = null;

  constructor(parts: readonly Part[], log: StopLog) {
    this.#parts = parts;
    this.#log = log;
  }

  /** Starts all parts, or stops those that had started and rejects with the error. */
  async start(): Promise<void> {
    for (const part of this.#parts) {
      // A stop arrived while an earlier part was starting.
      if (this.#stopping) return;
      // Counted before it runs, so that a part whose start failed halfway is stopped as well.
      this.#started.unshift(part);
      const starting = part.start();
      this.#starting = starting.catch(() => undefined);
      try {
        await starting;
      } catch (error) {
        await this.stop();
        throw error;
      }
    }
  }

  /**
   * Stops the started parts, the last first, and waits for one that is still starting. If a part fails to
   * stop, it logs the error and stops the others.
   */
  stop(): Promise<boolean> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<boolean> {
    let clean = true;
    for (const part of this.#started) {
      try {
        await part.stop();
        // Only the first of them can still be starting; the parts below keep serving it until it has ended.
        await this.#starting;
      } catch (error) {
        clean = false;
        this.#log.error({ err: error, part: part.name }, 'part did not stop in order');
      }
    }
    return clean;
  }
}

export interface RunOptions {
  shell: Shell;
  log: StopLog;
  assembly: Assembly;
  stopDeadlineMs: number;
  /** Called once everything runs. */
  onReady: () => void | Promise<void>;
  /** Whether the program is alive, for the watchdog of systemd. */
  live?: () => boolean;
  /** Rereads certificates at SIGHUP; without it the signal is only logged. SIGHUP never ends a program. */
  reload?: () => void;
  /**
   * Resolves when the program should end by itself (a part failed for good), with a sentence for a person.
   */
  failed?: Promise<{ reason: string; code: ExitCode }>;
  /** Ends the process at once; tests pass their own. */
  exitNow?: (code: number) => void;
  /** Kills the process at a time even if its main thread hangs; tests pass their own. */
  watchdog?: (inMs: number) => void;
}

/** Time for the process to end by itself after the last part has stopped, milliseconds. */
const LINGER_MS = 2_000;
/** How long after its deadline a hanging process is killed, milliseconds. */
const HANGS_MS = 1_000;

/** If this fails (the folder of the ready file is missing), the program stops in order. */
async function readyOrStopped({ onReady, assembly }: RunOptions): Promise<void> {
  try {
    await onReady();
  } catch (error) {
    await assembly.stop();
    throw error;
  }
}

/** Runs until a signal. Rejects when a part cannot be started. */
export async function runUntilSignal(options: RunOptions): Promise<ExitCode> {
  const { shell, log, assembly, stopDeadlineMs, watchdog = killAt } = options;
  const { exitNow = (code) => process.exit(code) } = options;
  const manager = new ServiceManager(shell.env, log);
  let stopping = false;
  let asked: (reason: string) => void = () => {};
  const end = new Promise<{ reason: string; code: ExitCode }>((resolve) => {
    asked = (reason) => resolve({ reason, code: EXIT.ok });
    options.failed?.then(resolve);
  });
  const release = shell.onInterrupt((signal) => {
    if (stopping) {
      log.error({ signal }, 'second signal: ending at once');
      exitNow(EXIT.interrupted);
      return;
    }
    stopping = true;
    asked(String(signal));
  });
  const releaseHangup = shell.onHangup(() => {
    log.info({ signal: 'SIGHUP' }, options.reload ? 'reading certificates again' : 'nothing to read again');
    if (!stopping) options.reload?.();
  });
  try {
    const starting = assembly.start().catch((error: unknown) => {
      if (!stopping) throw startError(error);
    });
    // A signal during a slow start (no database yet) must not wait for it.
    const first = await Promise.race([starting.then(() => null), end]);
    if (first === null) {
      await readyOrStopped(options);
      manager.ready(options.live ?? (() => true));
    }
    const { reason, code } = first ?? (await end);
    stopping = true;
    log.info({ reason }, 'stopping');
    manager.stopping();
    watchdog(stopDeadlineMs + HANGS_MS);
    const timer = setTimeout(() => {
      log.error({ stopDeadlineMs }, `not stopped within ${formatDuration(stopDeadlineMs)}: ending at once`);
      exitNow(EXIT.fault);
    }, stopDeadlineMs);
    const clean = await assembly.stop();
    await starting.catch(() => undefined);
    clearTimeout(timer);
    log.info({ reason }, 'stopped');
    if (code !== EXIT.ok) shell.stderr.write(`${reason}\n`);
    return clean ? code : EXIT.fault;
  } finally {
    release();
    releaseHangup();
    // Unreferenced: it fires only if something else keeps the process alive.
    const lingers = () => {
      log.error(
        { kept: process.getActiveResourcesInfo() },
        'stopped, but the process does not end: ending it',
      );
      exitNow(Number(process.exitCode ?? EXIT.fault));
    };
    setTimeout(lingers, Math.min(LINGER_MS, stopDeadlineMs)).unref();
  }
}
