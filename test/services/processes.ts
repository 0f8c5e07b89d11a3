import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { waitFor } from '../wait.ts';
import { startGuard } from './guard.ts';

export interface ProgramOptions {
  /**
   * Added to ours, without what would configure the program by accident (PUSHPOINT_*, REDIS_URL,
   * DATABASE_URL).
   */
  env?: Record<string, string>;
  cwd?: string;
  /** Where its stderr goes; to `lines` when absent. */
  stderr?: number;
}

export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** Lines kept for each program; the oldest go first. */
const LINES_KEPT = 50_000;

const compiled = fileURLToPath(new URL('../../', import.meta.url));

/** Runs `pushpoint <arguments>` from the compiled sources. */
export function startCli(args: readonly string[], options: ProgramOptions = {}): Program {
  return new Program(process.execPath, [`${compiled}cli/main.js`, ...args], options);
}

/** The same, with its log at a path such as `/dev/full`; only what it says on stdout is captured. */
export function startCliLoggingTo(
  path: string,
  args: readonly string[],
  options: ProgramOptions = {},
): Program {
  const script = 'log=$1; shift; exec "$@" 2>"$log"';
  return new Program(
    '/bin/sh',
    ['-c', script, 'sh', path, process.execPath, `${compiled}cli/main.js`, ...args],
    options,
  );
}

/** Runs a compiled file of ours, for example `startFile('bench/load.js', ['--devices', '10'])`. */
export function startFile(file: string, args: readonly string[] = [], options: ProgramOptions = {}): Program {
  return new Program(process.execPath, [compiled + file, ...args], options);
}

/**
 * A process of ours with its output captured by lines. It runs in a process group of its own, which is ended
 * as a whole when this process ends in whatever way.
 */
export class Program {
  /** Of both streams, in the order of arrival. */
  readonly lines: string[] = [];
  readonly exited: Promise<Exit>;
  readonly pid: number;
  readonly #child: ChildProcess;
  readonly #guard = startGuard();
  #ended: Exit | undefined;

  constructor(command: string, args: readonly string[], options: ProgramOptions) {
    const child = spawn(command, args, {
      cwd: options.cwd,
      env: { ...cleanEnvironment(), ...options.env },
      detached: true,
      stdio: ['ignore', 'pipe', options.stderr ?? 'pipe'],
    });
    this.#child = child;
    this.pid = child.pid ?? -1;
    this.#guard.watch(child.pid ?? null);
    for (const stream of [child.stdout, child.stderr]) if (stream) collectLines(stream, this.lines);
    this.exited = new Promise((resolve, reject) => {
      child.once('error', reject);
      // `close` comes after the last output, `exit` may not.
      child.once('close', (code, signal) => {
        this.#ended = { code, signal };
        resolve(this.#ended);
      });
    });
  }

  get running(): boolean {
    return this.#ended === undefined;
  }

  get output(): string {
    return this.lines.join('\n');
  }

  /**
   * The first line that matches, past or to come. Rejects with the output at the deadline, or if the program
   * ends without.
   */
  async waitForLine(
    match: string | RegExp | ((line: string) => boolean),
    timeoutMs = 15_000,
  ): Promise<string> {
    const matches =
      typeof match === 'function'
        ? match
        : (line: string) => (typeof match === 'string' ? line.includes(match) : match.test(line));
    const what = typeof match === 'function' ? 'a line' : String(match);
    let line: string | undefined;
    try {
      await waitFor(
        () => {
          line = this.lines.find(matches);
          return line !== undefined || !this.running;
        },
        { timeoutMs, what },
      );
    } catch (error) {
      throw new Error(`no line ${what} within ${timeoutMs} ms:\n${this.output}`, { cause: error });
    }
    if (line === undefined) throw new Error(`the program ended without a line ${what}:\n${this.output}`);
    return line;
  }

  /** The first line that is a JSON object (a log line, a result) for which `matches` holds. */
  async waitForJson<T = Record<string, unknown>>(
    matches: (value: T) => boolean = () => true,
    timeoutMs = 15_000,
  ): Promise<T> {
    const line = await this.waitForLine((candidate) => {
      const value = parseObject(candidate);
      return value !== undefined && matches(value as T);
    }, timeoutMs);
    return parseObject(line) as T;
  }

  /** SIGKILL when absent. Resolves once the process has ended, or at once for SIGSTOP, SIGCONT and SIGHUP. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    if (!this.running) return;
    this.#child.kill(signal);
    if (!['SIGSTOP', 'SIGCONT', 'SIGHUP'].includes(signal)) await this.exited;
  }

  /** Kills the whole process group: the program and the workers it forked. */
  async killGroup(): Promise<void> {
    if (!this.running) return;
    process.kill(-this.pid, 'SIGKILL');
    await this.exited;
  }

  /** Asks it to stop with SIGTERM, kills its group at the deadline, and tells how it ended. Idempotent. */
  async stop(timeoutMs = 10_000): Promise<Exit> {
    if (this.running) {
      const timer = setTimeout(() => process.kill(-this.pid, 'SIGKILL'), timeoutMs);
      this.#child.kill('SIGCONT');
      this.#child.kill('SIGTERM');
      await this.exited;
      clearTimeout(timer);
    }
    await this.#guard.release();
    return this.exited;
  }
}

function cleanEnvironment(): NodeJS.ProcessEnv {
  // The test runner finds what a test left running by PUSHPOINT_TEST_FILE.
  const ours = /^(PUSHPOINT_(?!TEST_FILE$).*|REDIS_URL|DATABASE_URL|FORCE_COLOR)$/;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !ours.test(name)));
}

function collectLines(stream: NodeJS.ReadableStream, lines: string[]): void {
  let rest = '';
  const keep = (line: string) => {
    lines.push(line);
    if (lines.length > LINES_KEPT) lines.splice(0, LINES_KEPT / 10);
  };
  stream.setEncoding('utf8');
  stream.on('data', (text: string) => {
    const parts = (rest + text).split('\n');
    rest = parts.pop() ?? '';
    parts.forEach(keep);
  });
  stream.on('end', () => {
    if (rest !== '') keep(rest);
  });
}

function parseObject(line: string): Record<string, unknown> | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}
