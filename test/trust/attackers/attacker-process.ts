/**
 * An attacker: `node attacker-process.js <loot as JSON>`. It knows what it was given and nothing else; its
 * parent says which moves it makes.
 */
import { type Loot, Moves } from './moves.ts';

export interface Wish {
  id: number;
  move: keyof Moves;
  args: unknown[];
}

export type Done = { id: number } & ({ answer: unknown } | { error: string });

const moves = new Moves(JSON.parse(process.argv[2] as string) as Loot);

process.on('disconnect', () => process.exit());
process.on('message', async ({ id, move, args }: Wish) => {
  try {
    const make = moves[move] as (...args: unknown[]) => Promise<unknown>;
    process.send?.({ id, answer: await make.apply(moves, args) } satisfies Done);
  } catch (error) {
    process.send?.({ id, error: String(error) } satisfies Done);
  }
});
