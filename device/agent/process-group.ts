/** The process group of one run of a program: whether it has members, and its end. */
import { readdirSync, readFileSync } from 'node:fs';

/** Interval between checks of a group that must end, milliseconds. */
const LOOK_MS = 50;
/**
 * A group that still has members this long after SIGKILL is given up: no signal ends a process that hangs in
 * the kernel.
 */
const GIVE_UP_MS = 5_000;
/** In the environment of every process of a run, to find a run whose process id was not stored. */
export const RUN_VARIABLE = 'PUSHPOINT_TASK_RUN';

interface ProcessStat {
  pid: number;
  state: string;
  group: number;
  /** Start time since boot, in ticks: the system reuses process ids, but not pairs of id and start time. */
  start: string;
}

/** From /proc (proc_pid_stat(5)); `null` without /proc, or without such a process. */
function statOf(pid: number | string): ProcessStat | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The second field is the program's name, in parentheses, and may hold anything.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return { pid: Number(pid), state: fields[0] ?? '', group: Number(fields[2]), start: fields[19] ?? '' };
  } catch {
    return null;
  }
}

/** Reads all of /proc; only needed if one known process cannot answer. */
function living(): ProcessStat[] {
  let names: string[];
  try {
    names = readdirSync('/proc');
  } catch {
    return [];
  }
  return names
    .filter((name) => /^\d+$/.test(name))
    .map(statOf)
    .filter(lives);
}

/** Processes that have ended and wait for their parent do not count. */
function lives(stat: ProcessStat | null): stat is ProcessStat {
  return stat !== null && !'ZX'.includes(stat.state);
}

function marked(pid: number, run: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(`${RUN_VARIABLE}=${run}`);
  } catch {
    return false;
  }
}

/** Start time of a process from `/proc`, or ''. */
export function startOf(pid: number): string {
  return statOf(pid)?.start ?? '';
}

/**
 * The group that a run of a previous agent left behind, or `null`. Never a foreign group that has since got
 * the process id, nor the group of this process.
 */
export function leftGroup(run: { run: string; pgid?: number; start?: string }): number | null {
  const found = findGroup(run);
  return found === null || found <= 1 || found === statOf('self')?.group ? null : found;
}

function findGroup({ run, pgid, start }: { run: string; pgid?: number; start?: string }): number | null {
  if (pgid === undefined) return living().find(({ pid }) => marked(pid, run))?.group ?? null;
  const leader = statOf(pgid);
  if (leader && leader.start !== start) return null;
  if (lives(leader) && leader.group === pgid) return pgid;
  return living().some(({ pid, group }) => group === pgid && marked(pid, run)) ? pgid : null;
}

export class ProcessGroup {
  readonly #pgid: number;
  /** A process last seen in the group, at first its leader: while it lives, no other needs to be checked. */
  #member: number;
  #killAt = Number.POSITIVE_INFINITY;
  #ending: Promise<void> | null = null;

  constructor(pgid: number) {
    this.#pgid = pgid;
    this.#member = pgid;
  }

  /** Processes that have ended and wait for their parent do not count. */
  get empty(): boolean {
    try {
      process.kill(this.#target, 0);
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === 'ESRCH';
    }
    if (process.platform !== 'linux') return false;
    const known = statOf(this.#member);
    if (lives(known) && known.group === this.#pgid) return false;
    const other = living().find(({ group }) => group === this.#pgid);
    this.#member = other?.pid ?? this.#pgid;
    return other === undefined;
  }

  /**
   * SIGTERM now, SIGKILL after `killAfterMs` to what is left; if called again, the earlier time counts.
   * Resolves when the group is empty.
   */
  end(killAfterMs: number): Promise<void> {
    this.#killAt = Math.min(this.#killAt, performance.now() + killAfterMs);
    if (!this.#ending) {
      this.signal('SIGTERM');
      this.#ending = this.#untilEmpty();
    }
    return this.#ending;
  }

  signal(signal: NodeJS.Signals): void {
    try {
      process.kill(this.#target, signal);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // It has just ended by itself, or what is left of it belongs to another user.
      if (code !== 'ESRCH' && code !== 'EPERM') throw error;
    }
  }

  /** A negative number means the group; Windows has no process groups. */
  get #target(): number {
    return process.platform === 'win32' ? this.#pgid : -this.#pgid;
  }

  async #untilEmpty(): Promise<void> {
    while (!this.empty) {
      const late = performance.now() - this.#killAt;
      if (late > GIVE_UP_MS) return;
      if (late >= 0) this.signal('SIGKILL');
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }
}
