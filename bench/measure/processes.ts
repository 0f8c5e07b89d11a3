/** What the kernel says about processes: memory, CPU, children. Linux only. */
import { readdirSync, readFileSync } from 'node:fs';

/** USER_HZ: ticks of /proc/<pid>/stat in a second, the same on every Linux of our time. */
const TICKS_PER_SECOND = 100;

interface Stat {
  parent: number;
  /** Of the process itself, ended threads included, milliseconds. */
  cpuMs: number;
  /** Of its children that ended. */
  childrenCpuMs: number;
}

function readStat(pid: number): Stat | null {
  const text = read(`/proc/${pid}/stat`);
  if (text === null) return null;
  // The name in parentheses may hold spaces: the fields after it count from the third.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const ms = (first: number): number =>
    ((Number(fields[first]) + Number(fields[first + 1])) * 1_000) / TICKS_PER_SECOND;
  return { parent: Number(fields[1]), cpuMs: ms(11), childrenCpuMs: ms(13) };
}

function read(path: string): string | null {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    // It ended meanwhile.
    return null;
  }
}

/** These processes and all their descendants that live now. */
export function processTree(roots: readonly number[]): number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    const stat = Number.isInteger(pid) ? readStat(pid) : null;
    if (stat) parents.set(pid, stat.parent);
  }
  const tree = new Set(roots.filter((pid) => parents.has(pid)));
  for (let before = -1; before !== tree.size; ) {
    before = tree.size;
    for (const [pid, parent] of parents) if (tree.has(parent)) tree.add(pid);
  }
  return [...tree];
}

/**
 * Proportional set size (pages shared with others count in part) without pages of files: those are the
 * program itself, whose share depends on who else runs it. Bytes; 0 for a process that is gone.
 */
export function pssBytes(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => {
    const rollup = read(`/proc/${pid}/smaps_rollup`) ?? '';
    const kilobytes = (name: string): number =>
      Number(rollup.match(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm'))?.[1] ?? 0);
    return sum + (kilobytes('Pss_Anon') + kilobytes('Pss_Shmem')) * 1024;
  }, 0);
}

/** CPU these processes used since they started, user and system, milliseconds. */
export function cpuMs(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + (readStat(pid)?.cpuMs ?? 0), 0);
}

/** CPU that a process and all its descendants used, those that ended included, milliseconds. */
export function cpuMsOfTree(root: number): number {
  return processTree([root]).reduce((sum, pid) => {
    const stat = readStat(pid);
    return sum + (stat ? stat.cpuMs + stat.childrenCpuMs : 0);
  }, 0);
}

/**
 * How busy the whole machine was since it started, and how much of that was this process and its descendants;
 * milliseconds.
 */
export function machineCpu(): { all: number; busy: number; own: number } {
  const ticks =
    (read('/proc/stat') ?? '').split('\n', 1)[0]?.trim().split(/\s+/).slice(1, 9).map(Number) ?? [];
  const all = ticks.reduce((sum, count) => sum + count, 0);
  const idle = (ticks[3] ?? 0) + (ticks[4] ?? 0);
  const ms = (count: number): number => (count * 1_000) / TICKS_PER_SECOND;
  return { all: ms(all), busy: ms(all - idle), own: cpuMsOfTree(process.pid) };
}

export interface MemoryUse {
  /** By everything, caches not counted, bytes. */
  used: number;
  /** By the kernel for itself, what it could give back not counted: sockets, files. */
  kernel: number;
}

/** Of the whole machine. */
export function memoryUse(): MemoryUse {
  const info = read('/proc/meminfo') ?? '';
  const bytes = (name: string): number =>
    Number(info.match(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm'))?.[1] ?? 0) * 1024;
  return {
    used: bytes('MemTotal') - bytes('MemAvailable'),
    kernel: bytes('SUnreclaim') + bytes('KernelStack') + bytes('PageTables') + bytes('Percpu'),
  };
}

/** The most files a process may have open here. */
export function descriptorLimit(): number {
  const hard = read('/proc/self/limits')?.match(/^Max open files\s+\S+\s+(\S+)/m)?.[1];
  return hard === undefined || hard === 'unlimited' ? 1_000_000 : Number(hard);
}
