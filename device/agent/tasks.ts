/** `task.start`, `task.stop` and `sync`: the programs that the agent's own configuration names, and no others. */
import { Aborted, type Command, Failed, type HandlerContext, Rejected } from '../index.ts';
import type { AgentConfig } from './config.ts';
import { Program, type ProgramEnd } from './program.ts';

export class Tasks {
  readonly #config: Pick<AgentConfig, 'tasks' | 'sync' | 'outputTailBytes'>;
  readonly #running = new Map<string, Program>();
  /** Tasks that a `task.stop` ends. */
  readonly #stopped = new Set<Program>();
  #syncing: Program | null = null;

  constructor(config: Pick<AgentConfig, 'tasks' | 'sync' | 'outputTailBytes'>) {
    this.#config = config;
  }

  /** Names of the tasks that run, with the time since, seconds. */
  running(): { task: string; seconds: number }[] {
    const now = performance.now();
    return [...this.#running].map(([task, program]) => ({
      task,
      seconds: Math.round((now - program.startedAt) / 1000),
    }));
  }

  async start(command: Command, { signal }: HandlerContext): Promise<ProgramEnd> {
    const name = taskName(command);
    const config = Object.hasOwn(this.#config.tasks, name) ? this.#config.tasks[name] : undefined;
    if (!config) throw new Rejected('no such task');
    if (this.#running.has(name)) throw new Rejected('already running');
    const program = new Program(config, this.#config.outputTailBytes);
    this.#running.set(name, program);
    try {
      const end = await endOf(program, signal);
      if (this.#stopped.has(program)) throw new Failed('stopped', end);
      return succeeded(end);
    } finally {
      this.#running.delete(name);
      this.#stopped.delete(program);
    }
  }

  async stop(command: Command): Promise<{ wasRunning: boolean }> {
    const name = taskName(command);
    if (!Object.hasOwn(this.#config.tasks, name)) throw new Rejected('no such task');
    const program = this.#running.get(name);
    if (!program) return { wasRunning: false };
    this.#stopped.add(program);
    await program.stop();
    return { wasRunning: true };
  }

  async sync(_command: Command, { signal }: HandlerContext): Promise<ProgramEnd> {
    const { sync, outputTailBytes } = this.#config;
    if (!sync) return { output: 'no hook configured' };
    // Two at a time would work on the same files.
    while (this.#syncing) await this.#syncing.ended.catch(() => undefined);
    if (signal.aborted) throw signal.reason;
    const program = new Program(sync, outputTailBytes);
    this.#syncing = program;
    let late = false;
    const timer = sync.timeoutMs
      ? setTimeout(() => {
          late = true;
          void program.stop();
        }, sync.timeoutMs)
      : undefined;
    try {
      const end = await endOf(program, signal);
      if (late) throw new Failed(`the hook took longer than ${sync.timeoutMs} ms`, end);
      return succeeded(end);
    } finally {
      clearTimeout(timer);
      this.#syncing = null;
    }
  }

  /** Ends everything that still runs. */
  async close(killAfterMs: number): Promise<void> {
    const programs = [...this.#running.values(), ...(this.#syncing ? [this.#syncing] : [])];
    await Promise.all(programs.map((program) => program.stop(killAfterMs)));
  }
}

function taskName({ args }: Command): string {
  const name = (args as { task?: unknown } | null)?.task;
  if (typeof name !== 'string') throw new Rejected('arguments: task is needed');
  return name;
}

function succeeded(end: ProgramEnd): ProgramEnd {
  if (end.exitStatus === 0) return end;
  throw new Failed(end.signal ? `signal ${end.signal}` : `exit status ${end.exitStatus}`, end);
}

/** The end of the program, which a cancel, a time limit or the agent's end brings about. */
async function endOf(program: Program, signal: AbortSignal): Promise<ProgramEnd> {
  const stop = () => void program.stop();
  if (signal.aborted) stop();
  else signal.addEventListener('abort', stop, { once: true });
  let end: ProgramEnd;
  try {
    end = await program.ended;
  } catch (error) {
    throw new Failed(`cannot be started: ${(error as NodeJS.ErrnoException).code ?? error}`);
  } finally {
    signal.removeEventListener('abort', stop);
  }
  if (signal.aborted && signal.reason instanceof Aborted) throw new Failed(signal.reason.why, end);
  return end;
}
