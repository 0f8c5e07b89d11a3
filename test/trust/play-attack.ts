/** Proofs that are attacks: each succeeds in a copy without its protection, and only there. */
import { join } from 'node:path';
import type { Mutation } from '../faults/mutate/mutation.ts';
import type { Player } from '../faults/mutate/prove.ts';
import { runFile } from '../runner/run-file.ts';

/** The name of an attack. */
type AttackName = string;
export type TrustMutation = Mutation<AttackName>;

const TIME_LIMIT_MS = 180_000;

export const ATTACK_PLAYER: Player<AttackName> = {
  title: (attack) => attack,
  async play(copy, attack, { folder }) {
    const path = join(copy.dist, 'test', 'trust', 'run.js');
    const file = { name: attack, path, args: [attack], timeLimitMs: TIME_LIMIT_MS };
    const { output } = await runFile(file, folder);
    const line = output.split('\n').findLast((each) => each.startsWith('{"attacks"'));
    const { succeeded, unplayed } = JSON.parse(line ?? '{}') as { succeeded?: number; unplayed?: string[] };
    return { passed: succeeded === 0 && unplayed === undefined, noticed: succeeded === 1, output };
  },
};
