/**
 * `task.start`, `task.stop` and `sync`: the programs that the agent's own configuration names, and no others.
 */
import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import { Aborted, type Command, Failed, type HandlerContext, Rejected } from '../index.ts';
import type { AgentConfig, TaskConfig } from './config.ts';
import { leftGroup, ProcessGroup, startOf } from './process-group.ts';
import { Program, type ProgramEnd, type Run, TakenOver } from './program.ts';
import { type TaskRecord, TaskRecords } from './task-records.ts';

/** The sync hook among the records: no task has this name. */
const SYNC = '';

type TasksConfig = Pick<AgentConfig, 'tasks' | 'sync' | 'outputTailBytes' | 'stateDir'>;

export class Tasks {
  readonly #config: TasksConfig;
  readonly #log: Logger;
  readonly #killAfterMs: number;
  /** By name; the sync hook is among them. */
  readonly #running = new Map<string, Run>();
  /**
   * By command: kept runs of a previous agent whose end is not reported yet, including those that have ended.
   */
  readonly #takenOver = new Map<string, TakenOver>();
  /** What a `task.stop` ends. */
  readonly #stopped = new Set<Run>();
  #records: TaskRecords | null = null;
  #closing = false;

  /** `killAfterMs`: from SIGTERM to SIGKILL. */
  constructor(config: TasksConfig, log: Logger, killAfterMs = 10_000) {
    this.#config = config;
    this.#log = log;
    this.#killAfterMs = killAfterMs;
  }

  /**
   * Handles what a previous agent left running: resumes what is configured to continue, and ends the rest.
   */
  open(): void {
    const records = new TaskRecords(this.#config.stateDir);
    this.#records = records;
    for (const record of records.all()) {
      const { task, command, startedAt } = record;
      const pgid = leftGroup(record);
      if (pgid === null) {
        this.#forget(record);
        continue;
      }
      const left = new TakenOver(new ProcessGroup(pgid), { command, startedAt, kept: this.#keeps(task) });
      this.#hold(record, left);
      this.#log.warn(
        { task: task || 'sync', pid: pgid, ends: !left.kept },
        'left running by an earlier agent',
      );
      // The name is taken until it has ended, so that it never runs twice at a time.
      if (left.kept) this.#takenOver.set(command, left);
      else void left.stop(this.#killAfterMs);
    }
  }

  /**
   * Whether the command's task continues from a previous agent, or has ended since: it must not begin a
   * second time.
   */
  goesOn({ id }: { id: string }): boolean {
    return this.#takenOver.has(id);
  }

  /** Names of the tasks that run, with the time since, seconds. */
  running(): { task: string; seconds: number }[] {
    const now = Date.now();
    return [...this.#running]
      .filter(([task]) => task !== SYNC)
      .map(([task, run]) => ({ task, seconds: Math.max(0, Math.round((now - run.startedAt) / 1000)) }));
  }

  async start(command: Command, { signal }: HandlerContext): Promise<ProgramEnd> {
    const name = taskName(command);
    const config = Object.hasOwn(this.#config.tasks, name) ? this.#config.tasks[name] : undefined;
    if (!config) throw new Rejected('no such task');
    const left = this.#takenOver.get(command.id);
    if (!left && this.#running.has(name)) throw new Rejected('already running');
    const run = left ?? this.#begin(name, command, config, signal);
    try {
      const end = await endOf(run, signal, this.#killAfterMs);
      if (this.#stopped.has(run)) throw new Failed('stopped', end);
      if (left) throw new Failed('ended, exit status unknown: the agent was started again meanwhile', end);
      return succeeded(end);
    } finally {
      this.#stopped.delete(run);
      this.#takenOver.delete(command.id);
    }
  }

  async stop(command: Command): Promise<{ wasRunning: boolean }> {
    const name = taskName(command);
    if (!Object.hasOwn(this.#config.tasks, name)) throw new Rejected('no such task');
    const run = this.#running.get(name);
    if (!run) return { wasRunning: false };
    this.#stopped.add(run);
    await run.stop(this.#killAfterMs);
    return { wasRunning: true };
  }

  async sync(command: Command, { signal }: HandlerContext): Promise<ProgramEnd> {
    const { sync } = this.#config;
    if (!sync) return { output: 'no hook configured' };
    // Two at a time would work on the same files.
    while (this.#running.has(SYNC)) await this.#running.get(SYNC)?.ended.catch(() => undefined);
    const run = this.#begin(SYNC, command, sync, signal);
    let late = false;
    const timer = sync.timeoutMs
      ? setTimeout(() => {
          late = true;
          void run.stop(this.#killAfterMs);
        }, sync.timeoutMs)
      : undefined;
    try {
      const end = await endOf(run, signal, this.#killAfterMs);
      if (late) throw new Failed(`the hook took longer than ${sync.timeoutMs} ms`, end);
      return succeeded(end);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends everything that runs and is not configured to continue. */
  async close(killAfterMs: number): Promise<void> {
    this.#closing = true;
    await Promise.all(this.#ours().map((run) => run.stop(killAfterMs)));
  }

  /** The same for a process that ends at once and cannot wait. */
  kill(): void {
    this.#closing = true;
    for (const run of this.#ours()) run.kill();
  }

  #ours(): Run[] {
    return [...this.#running.values()].filter(({ kept }) => !kept);
  }

  #keeps(task: string): boolean {
    return (Object.hasOwn(this.#config.tasks, task) && this.#config.tasks[task]?.keepRunning) || false;
  }

  /** Stored first: if the agent crashes during the run, the next one finds it. */
  #begin(task: string, { id }: Command, config: TaskConfig, signal: AbortSignal): Run {
    if (signal.aborted || this.#closing) throw signal.reason ?? new Failed('stopped');
    const { outputTailBytes } = this.#config;
    const record: TaskRecord = { run: randomUUID(), task, command: id, startedAt: Date.now() };
    this.#records?.put(record);
    const kept = this.#keeps(task);
    const program = new Program(config, { run: record.run, command: id, outputTailBytes, kept });
    this.#hold(record, program);
    const { pid } = program;
    if (pid !== undefined) this.#store({ ...record, pgid: pid, start: startOf(pid) });
    return program;
  }

  #hold(record: TaskRecord, run: Run): void {
    this.#running.set(record.task, run);
    const over = () => {
      if (this.#running.get(record.task) === run) this.#running.delete(record.task);
      this.#forget(record);
    };
    run.ended.then(over, over);
  }

  /** Without the process id, the run is still found by its own id. */
  #store(record: TaskRecord): void {
    try {
      this.#records?.put(record);
    } catch (error) {
      this.#log.warn({ err: error, task: record.task }, 'process id of a task not stored');
    }
  }

  /** If it stays stored, the next agent finds that it has ended. */
  #forget({ run, task }: TaskRecord): void {
    try {
      this.#records?.remove(run);
    } catch (error) {
      this.#log.warn({ err: error, task }, 'end of a task not stored');
    }
  }
}

/**
 * Waits for the end of a run. A cancel, a time limit or the end of the agent stops it; a kept run outlives
 * the agent.
 */
async function endOf(run: Run, signal: AbortSignal, killAfterMs: number): Promise<ProgramEnd> {
  const stopped = () => signal.reason instanceof Aborted && signal.reason.why === 'stopped';
  let onAbort = () => {};
  const left = new Promise<never>((_, reject) => {
    onAbort = () => {
      if (run.kept && stopped()) reject(signal.reason);
      else void run.stop(killAfterMs);
    };
  });
  left.catch(() => undefined);
  if (signal.aborted) onAbort();
  else signal.addEventListener('abort', onAbort, { once: true });
  try {
    const end = await Promise.race([run.ended, left]);
    if (signal.aborted && signal.reason instanceof Aborted) throw new Failed(signal.reason.why, end);
    return end;
  } catch (error) {
    if (error instanceof Failed || error instanceof Aborted) throw error;
    throw new Failed(`cannot be started: ${(error as NodeJS.ErrnoException).code ?? error}`);
  } finally {
    signal.removeEventListener('abort', onAbort);
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
