/**
 * Plays proofs: each holds as the program is, and fails at the named test in a copy without its mechanism.
 */
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { forEachAtOnce } from '../../../cli/for-each-at-once.ts';
import { runFile } from '../../runner/run-file.ts';
import { failedTests, judge } from '../../runner/summary.ts';
import { focusOn } from './focus.ts';
import { MutatedCopy } from './mutated-copy.ts';
import type { Mutation, Proof } from './mutation.ts';

/** A proof takes seconds; one that hangs without its mechanism has not said what it noticed. */
const TIME_LIMIT_MS = 120_000;

export interface Verdict {
  /** Names of mutations that a seed did not notice. */
  unnoticed: string[];
  /** Names of those whose proofs fail although nothing is switched off. */
  broken: string[];
}

interface Play {
  passed: boolean;
  /** Titles of tests that failed. */
  failed: readonly string[];
  output: string;
}

/** With each of the seeds. */
export async function prove(mutations: readonly Mutation[], seeds: readonly number[]): Promise<Verdict> {
  const folder = await mkdtemp(join(tmpdir(), 'proofs-'));
  // PostgreSQL runs as another user and must reach its own folder below this one.
  await chmod(folder, 0o711);
  const broken = new Set<string>();
  const unnoticed = new Set<string>();
  try {
    const whole = await MutatedCopy.make([]);
    try {
      await atOnce(mutations, async ({ name, proof }) => {
        for (const seed of seeds) if (!(await holds(whole, proof, seed, folder))) broken.add(name);
      });
    } finally {
      await whole.remove();
    }
    await atOnce(mutations, async (mutation) => {
      const copy = await MutatedCopy.make(mutation.patches);
      try {
        for (const seed of seeds) {
          if (!(await notices(copy, mutation, seed, folder))) unnoticed.add(mutation.name);
        }
      } finally {
        await copy.remove();
      }
    });
    return { unnoticed: [...unnoticed], broken: [...broken] };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function atOnce<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  // Most of a proof is waiting.
  return forEachAtOnce(items, availableParallelism() + 1, work);
}

async function holds(copy: MutatedCopy, proof: Proof, seed: number, folder: string): Promise<boolean> {
  const { passed, output } = await play(copy, proof, seed, folder);
  say(`${passed ? 'holds  ' : 'BROKEN '} ${proof.file}: ${proof.test}, seed ${seed}`, passed ? '' : output);
  return passed;
}

async function notices(
  copy: MutatedCopy,
  { name, title, proof }: Mutation,
  seed: number,
  folder: string,
): Promise<boolean> {
  const began = performance.now();
  const { failed, output } = await play(copy, proof, seed, folder);
  const noticed = failed.includes(proof.test);
  const seconds = ((performance.now() - began) / 1_000).toFixed(1);
  const what = `${name} (${title}), seed ${seed}, ${seconds} s`;
  say(`${noticed ? 'noticed' : 'UNNOTICED'} ${what}`, noticed ? '' : output);
  return noticed;
}

async function play(copy: MutatedCopy, proof: Proof, seed: number, folder: string): Promise<Play> {
  const path = await focusOn(copy.dist, proof.file, proof.test);
  const env = { FAULTS_SEED: String(seed) };
  const outcome = await runFile({ name: proof.file, path, timeLimitMs: TIME_LIMIT_MS }, folder, env);
  const { passed, problems } = judge(outcome);
  // The other tests of the file are.
  const others = problems.filter((problem) => !problem.startsWith('skipped '));
  const failed = failedTests(outcome.output);
  return { passed: passed > 0 && others.length === 0, failed, output: outcome.output };
}

function say(line: string, more: string): void {
  process.stderr.write(`${line}\n${more}`);
}
