/**
 * Recovery mechanisms switched off on purpose, to see that the matrix notices. What is patched is a copy of the compiled
 * program in a temporary folder: nothing that can be configured switches these off.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, readFile, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startGuard } from '../services/guard.ts';

interface Patch {
  /** Below `dist/`. */
  file: string;
  /** Must be there exactly once. */
  find: string;
  replace: string;
}

export interface Mutation {
  name: string;
  /** What is missing then. */
  title: string;
  patches: readonly Patch[];
  /** Scenarios that depend on it. */
  shownBy: readonly string[];
}

export const MUTATIONS: readonly Mutation[] = [
  {
    name: 'hint-only',
    title: 'a worker reads its outbox on a hint and at no other time',
    patches: [
      {
        file: 'gateway/outbox-reader.js',
        find: 'void this.#subscribe();\n            this.read();\n        }, this.#pollMs)',
        replace: 'void this.#subscribe();\n        }, this.#pollMs)',
      },
    ],
    shownBy: ['hints-lost'],
  },
  {
    name: 'no-presence-compare',
    title: 'whoever closes a connection last removes the device, and whoever claims last has it',
    patches: [
      {
        file: 'bus/redis/scripts/release-presence.js',
        find: "if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then",
        replace: 'if true then',
      },
      {
        file: 'bus/redis/scripts/claim-presence.js',
        find: 'if not (held and holder and tonumber(previousSession) > held) then',
        replace: 'if true then',
      },
    ],
    shownBy: ['device-links-silent'],
  },
  {
    name: 'no-redelivery',
    title: 'what was sent is not sent again, whatever becomes of it',
    patches: [
      {
        file: 'admin-api/store/executions.js',
        find: 'requeueSessions(rows) {',
        replace: 'requeueSessions(rows) { return Promise.resolve([]);',
      },
      {
        file: 'admin-api/store/executions.js',
        find: '#requeueKeys(db, rows, condition) {',
        replace: '#requeueKeys(db, rows, condition) { return Promise.resolve([]);',
      },
    ],
    shownBy: ['device-links-silent'],
  },
  {
    name: 'no-dedupe',
    title: 'a device runs whatever is delivered to it',
    patches: [
      {
        file: 'device/executions.js',
        find: 'return this.#again(known, order);',
        replace: 'this.#book.drop(id);',
      },
    ],
    shownBy: ['device-links-one-way'],
  },
];

/** Plays the matrix with these arguments in a copy without the mechanism; resolves with its exit code. */
export async function runMutated({ patches }: Mutation, args: readonly string[]): Promise<number> {
  const compiled = fileURLToPath(new URL('../../', import.meta.url));
  const folder = await mkdtemp(join(tmpdir(), 'mutated-'));
  const guard = startGuard({ folder });
  try {
    await cp(compiled, join(folder, 'dist'), { recursive: true });
    for (const name of ['node_modules', 'package.json']) {
      await symlink(join(compiled, '..', name), join(folder, name));
    }
    for (const patch of patches) await apply(join(folder, 'dist'), patch);
    const entry = join(folder, 'dist', 'test', 'faults', 'run.js');
    const child = spawn(process.execPath, [entry, ...args], { stdio: 'inherit', detached: true });
    guard.watch(child.pid ?? null);
    const [code] = (await once(child, 'exit')) as [number | null];
    return code ?? 1;
  } finally {
    await guard.release();
  }
}

async function apply(dist: string, { file, find, replace }: Patch): Promise<void> {
  const path = join(dist, file);
  const parts = (await readFile(path, 'utf8')).split(find);
  if (parts.length !== 2) throw new Error(`${file} does not hold once: ${find}`);
  await writeFile(path, parts.join(replace));
}
