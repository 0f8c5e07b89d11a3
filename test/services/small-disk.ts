/** A file system of its own that can be filled. Needs the right to mount one, which root usually has. */
import { execFile, spawn } from 'node:child_process';
import { rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const SIZE = '160m';

export class SmallDisk {
  readonly #folder: string;
  readonly #unmount: () => Promise<void>;

  private constructor(folder: string, unmount: () => Promise<void>) {
    this.#folder = folder;
    this.#unmount = unmount;
  }

  /** Mounts one on an empty folder, of a size as `mount` takes it; `undefined` where that is not allowed. */
  static async mount(folder: string, size = SIZE): Promise<SmallDisk | undefined> {
    try {
      await run('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', folder]);
    } catch {
      return undefined;
    }
    // Ends with this process, however that ends, and unmounts: a mount must not be left behind.
    const guard = spawn('/bin/sh', ['-c', 'cat >/dev/null; umount -l "$1"', 'guard', folder], {
      cwd: '/',
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    guard.unref();
    (guard.stdin as unknown as { unref(): void }).unref();
    const ended = new Promise<void>((resolve) => guard.once('exit', () => resolve()));
    return new SmallDisk(folder, async () => {
      guard.ref();
      guard.stdin.end();
      await ended;
    });
  }

  /** Takes all the space there is. */
  async fill(): Promise<void> {
    const { bavail, bsize } = await statfs(this.#folder);
    const path = join(this.#folder, 'filler');
    const some = Buffer.alloc(bsize * Math.max(1, Math.floor(bavail / 16)));
    for (let size = some.length; size >= bsize; size = Math.floor(size / 2)) {
      for (;;) {
        try {
          await writeFile(path, some.subarray(0, size), { flag: 'a' });
        } catch {
          break;
        }
      }
    }
  }

  async free(): Promise<void> {
    await rm(join(this.#folder, 'filler'), { force: true });
  }

  unmount(): Promise<void> {
    return this.#unmount();
  }
}
