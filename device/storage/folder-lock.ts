/**
 * One program at a time in a state folder. The lock is a file that names its holder by process id and start
 * time; the lock of a holder that is gone is taken over.
 */
import { link, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export class FolderInUse extends Error {
  override readonly name = 'FolderInUse';
  constructor(folder: string, holder: string) {
    super(`${folder} is in use by process ${holder.split(' ')[0]}: stop it, or use another folder`);
  }
}

/**
 * Start time of a process since boot, if the system has it: process ids are reused, pairs of id and start
 * time are not.
 */
async function startTime(pid: number): Promise<string> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '-';
  } catch {
    // No /proc (not Linux), or no such process; alive() distinguishes these by signal 0.
    return '-';
  }
}

async function alive(holder: string): Promise<boolean> {
  const [pid, started] = holder.split(' ');
  if (!Number(pid)) return false;
  try {
    process.kill(Number(pid), 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
  }
  return started === (await startTime(Number(pid)));
}

async function readOr(path: string, otherwise: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return otherwise;
    throw error;
  }
}

/** Throws `FolderInUse`. Returns a function that releases the lock. */
export async function lockFolder(folder: string): Promise<() => Promise<void>> {
  const path = join(folder, 'lock');
  const mine = `${process.pid} ${await startTime(process.pid)}`;
  const draft = join(folder, `lock.${process.pid}.${Math.random().toString(36).slice(2)}`);
  await writeFile(draft, mine, { mode: 0o600 });
  try {
    for (let tries = 0; tries < 5; tries++) {
      try {
        // link fails if the name exists, and the file has its content from the first moment.
        await link(draft, path);
        return () => rm(path, { force: true });
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      }
      const holder = await readOr(path, '');
      if (holder === '') continue;
      if (await alive(holder)) throw new FolderInUse(folder, holder);
      await discard(path, holder, `${draft}.gone`);
    }
    throw new FolderInUse(folder, 'unknown');
  } finally {
    await rm(draft, { force: true });
  }
}

/** Removes the lock of a holder that is gone; puts back another holder's lock taken in between. */
async function discard(path: string, holder: string, aside: string): Promise<void> {
  try {
    await rename(path, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  if ((await readOr(aside, '')) !== holder) await link(aside, path).catch(() => undefined);
  await rm(aside, { force: true });
}
