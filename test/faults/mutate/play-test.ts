/** Proofs that are tests: each fails at the named test in a copy without its mechanism. */
import { runFile } from '../../runner/run-file.ts';
import { failedTests, judge } from '../../runner/summary.ts';
import { focusOn } from './focus.ts';
import type { Proof } from './mutation.ts';
import type { Player } from './prove.ts';

/** A proof takes seconds; one that hangs without its mechanism has not said what it noticed. */
const TIME_LIMIT_MS = 120_000;

export const TESTS: Player<Proof> = {
  title: ({ file, test }) => `${file}: ${test}`,
  async play(copy, { file, test }, { seed, folder }) {
    const path = await focusOn(copy.dist, file, test);
    const env = { FAULTS_SEED: String(seed) };
    const outcome = await runFile({ name: file, path, timeLimitMs: TIME_LIMIT_MS }, folder, env);
    const { passed, problems } = judge(outcome);
    // The other tests of the file are.
    const others = problems.filter((problem) => !problem.startsWith('skipped '));
    const noticed = failedTests(outcome.output).includes(test);
    return { passed: passed > 0 && others.length === 0, noticed, output: outcome.output };
  },
};
