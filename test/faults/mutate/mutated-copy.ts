/** A copy of the compiled program in a temporary folder, with patches. */
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startGuard } from '../../services/guard.ts';
import type { Patch } from './mutation.ts';

const COMPILED = fileURLToPath(new URL('../../../', import.meta.url));
/** What compiled files look for beside `dist/`. */
const BESIDE = ['node_modules', 'package.json', 'protocol', 'PROTOCOL.md', 'docs'];

export class MutatedCopy {
  readonly #folder: string;
  readonly #guard;

  private constructor(folder: string) {
    this.#folder = folder;
    this.#guard = startGuard({ folder });
  }

  static async make(patches: readonly Patch[]): Promise<MutatedCopy> {
    const copy = new MutatedCopy(await mkdtemp(join(tmpdir(), 'mutated-')));
    try {
      await cp(COMPILED, copy.dist, { recursive: true });
      for (const name of BESIDE) await symlink(join(COMPILED, '..', name), join(copy.#folder, name));
      for (const patch of patches) await apply(copy.dist, patch);
      return copy;
    } catch (error) {
      await copy.remove();
      throw error;
    }
  }

  get dist(): string {
    return join(this.#folder, 'dist');
  }

  async remove(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
    await this.#guard.release();
  }
}

async function apply(dist: string, { file, find, replace }: Patch): Promise<void> {
  const path = join(dist, file);
  const parts = (await readFile(path, 'utf8')).split(find);
  if (parts.length !== 2) throw new Error(`${file} does not hold once: ${find}`);
  await writeFile(path, parts.join(replace));
}
