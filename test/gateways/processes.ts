/** What the kernel says about a process. Linux only. */
import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);
/** USER_HZ: ticks of /proc/<pid>/stat in a second, the same on every Linux of our time. */
const TICKS_PER_SECOND = 100;

export async function openDescriptors(pid: number): Promise<number> {
  return (await readdir(`/proc/${pid}/fd`)).length;
}

/** The soft limit of open files. */
export async function descriptorLimit(pid: number): Promise<number> {
  const { stdout } = await run('prlimit', [
    '--pid',
    String(pid),
    '--nofile',
    '--output=SOFT',
    '--noheadings',
  ]);
  return Number(stdout);
}

/** Changes the soft limit of a running process. */
export async function limitDescriptors(pid: number, limit: number): Promise<void> {
  await run('prlimit', ['--pid', String(pid), `--nofile=${limit}:`]);
}

/** Share of one core that the process uses in the given time. */
export async function cpuShare(pid: number, forMs: number): Promise<number> {
  const before = await cpuSeconds(pid);
  const began = performance.now();
  await new Promise((resolve) => setTimeout(resolve, forMs));
  return ((await cpuSeconds(pid)) - before) / ((performance.now() - began) / 1_000);
}

async function cpuSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'latin1');
  // The name in parentheses may hold spaces; user and system time are fields 14 and 15.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}
