/** The processes of a deployment, by name, each started again with what it was started with before. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Program, startCli, startCliLoggingTo } from '../services/processes.ts';

const CLOCK_SHIFT = new URL('./clock-shift.js', import.meta.url).href;
const READY_MS = 60_000;
/** Of a line of their logs, at its beginning and at its end: enough for a stack trace without its middle. */
const LINE_KEPT = 350;

export interface Plan {
  /** Arguments of `pushpoint`. */
  args: readonly string[];
  env?: Record<string, string>;
  /** Runs it otherwise than as `pushpoint` of ours. */
  run?: (args: readonly string[], folder: string) => Program;
}

export class Programs {
  /** Where they run, removed with them. */
  readonly folder: string;
  readonly #plans = new Map<string, Plan>();
  readonly #programs = new Map<string, Program>();
  /** Lines that each program had written when the test began. */
  readonly #before = new Map<Program, number>();

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async in(prefix: string): Promise<Programs> {
    return new Programs(await mkdtemp(join(tmpdir(), prefix)));
  }

  /** Settles on what a program is started with. */
  plan(name: string, plan: Plan): void {
    this.#plans.set(name, plan);
  }

  planned(name: string): Plan {
    const plan = this.#plans.get(name);
    if (!plan) throw new Error(`there is no ${name} here`);
    return plan;
  }

  /** In the order in which they were planned. */
  get names(): string[] {
    return [...this.#plans.keys()];
  }

  /** One that was started otherwise, and is stopped with the rest. */
  take(name: string, program: Program): Program {
    this.#programs.set(name, program);
    return program;
  }

  /** Starts a program; one that runs is stopped first. Resolves with the line it prints when it serves. */
  async start(name: string): Promise<string> {
    await this.launch(name);
    return this.ready(name);
  }

  /**
   * The same, and does not wait for it. `stderr`: a path for its log, which goes to its `lines` when absent.
   */
  async launch(name: string, { stderr }: { stderr?: string } = {}): Promise<Program> {
    const { args, env, run } = this.planned(name);
    await this.#programs.get(name)?.stop();
    if (run) return this.take(name, run(args, this.folder));
    const options = { cwd: this.folder, ...(env && { env }) };
    return this.take(
      name,
      stderr === undefined ? startCli(args, options) : startCliLoggingTo(stderr, args, options),
    );
  }

  ready(name: string): Promise<string> {
    return this.program(name).waitForLine(/^ready /, READY_MS);
  }

  /** The process that runs, or ran last, under this name. */
  program(name: string): Program {
    const program = this.#programs.get(name);
    if (!program) throw new Error(`${name} was not started`);
    return program;
  }

  running(name: string): boolean {
    return this.#programs.get(name)?.running ?? false;
  }

  /** Kills a program with its workers, as when its machine dies; resolves when it is gone. */
  async kill(name: string): Promise<void> {
    await this.#programs.get(name)?.killGroup();
  }

  /** Asks a program to stop in order; resolves when it has. */
  async end(name: string): Promise<void> {
    await this.#programs.get(name)?.kill('SIGTERM');
  }

  /** SIGSTOP or SIGCONT, for a program with its workers. */
  signalGroup(name: string, signal: 'SIGSTOP' | 'SIGCONT'): void {
    const program = this.#programs.get(name);
    if (program?.running) process.kill(-program.pid, signal);
  }

  /** Environment of a process whose wall clock `shiftClock` moves by this name. */
  clockEnvironment(name: string): Record<string, string> {
    return { NODE_OPTIONS: `--import=${CLOCK_SHIFT}`, FAULTS_CLOCK: this.#clockFile(name) };
  }

  /** The wall clock of the named process is off by so much from now on, milliseconds. */
  async shiftClock(name: string, offsetMs: number): Promise<void> {
    await writeFile(this.#clockFile(name), String(offsetMs));
  }

  #clockFile(name: string): string {
    return join(this.folder, `clock-${name}`);
  }

  /** Names of programs that wrote a line with this text. */
  whoSaid(text: string): string[] {
    return [...this.#programs].filter(([, { output }]) => output.includes(text)).map(([name]) => name);
  }

  /** A test begins: `lastWords` are of what comes now. */
  begin(): void {
    for (const program of this.#programs.values()) this.#before.set(program, program.lines.length);
  }

  /** What the programs wrote last since `begin`, for the message of a test that fails. */
  lastWords(lines = 15): string {
    return [...this.#programs]
      .map(([name, program]) => ({ name, said: program.lines.slice(this.#before.get(program) ?? 0) }))
      .filter(({ said }) => said.length > 0)
      .flatMap(({ name, said }) => [`---- ${name}`, ...said.slice(-lines).map(shorten)])
      .join('\n');
  }

  /** Those started last go first, for they hand in what they still hold; the first goes last. Idempotent. */
  async stop(): Promise<void> {
    const programs = [...this.#programs.values()].reverse();
    await Promise.all(programs.slice(0, -1).map((program) => program.stop(5_000)));
    await programs.at(-1)?.stop(5_000);
    await rm(this.folder, { recursive: true, force: true });
  }
}

function shorten(line: string): string {
  if (line.length <= 2 * LINE_KEPT) return line;
  return `${line.slice(0, LINE_KEPT)} ... ${line.slice(-LINE_KEPT)}`;
}
