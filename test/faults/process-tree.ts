/** Processes and those they started, by the kernel's word. Linux only. */
import { readdir, readFile } from 'node:fs/promises';

/** Process ids of the children, the oldest first. */
export async function childrenOf(pid: number): Promise<number[]> {
  const names = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const parents = await Promise.all(names.map(async (name) => [Number(name), await parentOf(name)] as const));
  return parents
    .filter(([, parent]) => parent === pid)
    .map(([child]) => child)
    .sort((a, b) => a - b);
}

/** To the process first, then to those it started. One that ended meanwhile does not count. */
export async function signalTree(pid: number, signal: NodeJS.Signals): Promise<void> {
  const children = await childrenOf(pid);
  signalOne(pid, signal);
  for (const child of children) await signalTree(child, signal);
}

export function signalOne(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

async function parentOf(pid: string): Promise<number | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '');
  // The name in parentheses may hold spaces; the state and the parent follow.
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
}
