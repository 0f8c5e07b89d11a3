import { readdir, readFile } from 'node:fs/promises';

/**
 * Processes that were started with `mark` (`NAME=value`) in their environment and still run. Linux only:
 * elsewhere nothing is found, and the guards alone clean up.
 */
export async function findMarked(mark: string): Promise<{ pid: number; command: string }[]> {
  const names = await readdir('/proc').catch(() => [] as string[]);
  const pids = names.filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(pids.map((pid) => inspect(pid, mark)));
  return found.filter((entry) => entry !== undefined);
}

async function inspect(pid: string, mark: string): Promise<{ pid: number; command: string } | undefined> {
  try {
    const environment = await readFile(`/proc/${pid}/environ`, 'latin1');
    if (!environment.split('\0').includes(mark)) return undefined;
    const command = await readFile(`/proc/${pid}/cmdline`, 'latin1');
    return { pid: Number(pid), command: command.split('\0').join(' ').trim().slice(0, 200) };
  } catch {
    // It ended in between, or belongs to another user and so not to the test.
    return undefined;
  }
}
