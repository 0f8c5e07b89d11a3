/**
 * Plays proofs: each holds as the program is, and fails at the named test in a copy without its mechanism.
 */
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { forEachAtOnce } from '../../../cli/for-each-at-once.ts';
import { MutatedCopy } from './mutated-copy.ts';
import type { Mutation } from './mutation.ts';

export interface Verdict {
  /** Names of mutations that a seed did not notice. */
  unnoticed: string[];
  /** Names of those whose proofs fail although nothing is switched off. */
  broken: string[];
}

/** How a proof went. */
export interface Play {
  /** It holds. */
  passed: boolean;
  /** It fails in the way that it is there to fail in. */
  noticed: boolean;
  output: string;
}

/** A proof, as it is played in a copy of the compiled program. */
export interface Player<P> {
  /** For people. */
  title(proof: P): string;
  play(copy: MutatedCopy, proof: P, run: { seed: number; folder: string }): Promise<Play>;
}

/** Each proof holds as the program is, and notices what is missing in a copy; with each of the seeds. */
export async function prove<P>(
  mutations: readonly Mutation<P>[],
  seeds: readonly number[],
  player: Player<P>,
): Promise<Verdict> {
  const broken = new Set<string>();
  await inFolder(async (folder) => {
    const whole = await MutatedCopy.make([]);
    try {
      await atOnce(mutations, async ({ name, proof }) => {
        for (const seed of seeds)
          if (!(await holds(player, whole, proof, { seed, folder }))) broken.add(name);
      });
    } finally {
      await whole.remove();
    }
  });
  return { unnoticed: await findUnnoticed(mutations, seeds, player), broken: [...broken] };
}

/** Names of mutations that their proofs do not notice. */
export async function findUnnoticed<P>(
  mutations: readonly Mutation<P>[],
  seeds: readonly number[],
  player: Player<P>,
): Promise<string[]> {
  const unnoticed = new Set<string>();
  await inFolder(async (folder) => {
    await atOnce(mutations, async (mutation) => {
      const copy = await MutatedCopy.make(mutation.patches);
      try {
        for (const seed of seeds) {
          if (!(await notices(player, copy, mutation, { seed, folder }))) unnoticed.add(mutation.name);
        }
      } finally {
        await copy.remove();
      }
    });
  });
  return [...unnoticed];
}

async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'proofs-'));
  // PostgreSQL runs as another user and must reach its own folder below this one.
  await chmod(folder, 0o711);
  try {
    await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function atOnce<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  // Most of a proof is waiting.
  return forEachAtOnce(items, availableParallelism() + 1, work);
}

interface Run {
  seed: number;
  folder: string;
}

async function holds<P>(player: Player<P>, copy: MutatedCopy, proof: P, run: Run): Promise<boolean> {
  const { passed, output } = await player.play(copy, proof, run);
  say(`${passed ? 'holds  ' : 'BROKEN '} ${player.title(proof)}, seed ${run.seed}`, passed ? '' : output);
  return passed;
}

async function notices<P>(
  player: Player<P>,
  copy: MutatedCopy,
  { name, title, proof }: Mutation<P>,
  run: Run,
): Promise<boolean> {
  const began = performance.now();
  const { noticed, output } = await player.play(copy, proof, run);
  const seconds = ((performance.now() - began) / 1_000).toFixed(1);
  const what = `${name} (${title}), seed ${run.seed}, ${seconds} s`;
  say(`${noticed ? 'noticed' : 'UNNOTICED'} ${what}`, noticed ? '' : output);
  return noticed;
}

function say(line: string, more: string): void {
  process.stderr.write(`${line}\n${more}`);
}
