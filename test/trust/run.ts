/**
 * Attackers against a deployment of real programs: `node dist/test/trust/run.js [--list] [name ...]`. The
 * last line of stdout is JSON; the exit code is 0 only when every attack was played and none succeeded.
 *
 * `--mutate NAME` switches a protection off and plays the attack that must succeed then, `--mutate all` each
 * of them; `--part 1/4` every fourth of them, the first one first. Exit code 0 only when every attack
 * succeeds without its protection.
 */
import { parseArgs } from 'node:util';
import { findUnnoticed } from '../faults/mutate/prove.ts';
import { ATTACKS } from './attacks.ts';
import { MUTATIONS } from './mutations.ts';
import { playAll } from './play.ts';
import { ATTACK_PLAYER } from './play-attack.ts';

const { values, positionals } = parseArgs({
  options: {
    list: { type: 'boolean', default: false },
    mutate: { type: 'string' },
    part: { type: 'string', default: '1/1' },
  },
  allowPositionals: true,
});

for (const name of positionals) {
  if (!ATTACKS.some((attack) => attack.name === name))
    throw new Error(`there is no attack ${name}; see --list`);
}
const attacks = ATTACKS.filter(({ name }) => positionals.length === 0 || positionals.includes(name));

if (values.list) {
  for (const { name, by, rules, title } of attacks) console.log(`${name} (${by}; ${rules}): ${title}`);
  for (const { name, title, proof } of MUTATIONS) console.log(`--mutate ${name}: ${title}: ${proof}`);
} else if (values.mutate !== undefined) {
  process.exitCode = await mutated(values.mutate, values.part);
} else {
  const { succeeded, unplayed } = await playAll(attacks);
  const more = unplayed.length > 0 && { unplayed };
  console.log(JSON.stringify({ attacks: attacks.length, succeeded: succeeded.length, ...more }));
  process.exitCode = succeeded.length + unplayed.length === 0 ? 0 : 1;
}

async function mutated(name: string, part: string): Promise<number> {
  const [nth = 0, of = 0] = part.split('/').map(Number);
  if (!(Number.isInteger(nth) && Number.isInteger(of) && nth >= 1 && nth <= of))
    throw new Error('--part takes two whole numbers, such as 1/4');
  const wanted = MUTATIONS.filter((mutation) => name === 'all' || mutation.name === name);
  if (wanted.length === 0)
    throw new Error(`there is no ${name}: ${MUTATIONS.map((each) => each.name).join(', ')}`);
  const chosen = wanted.filter((_, index) => index % of === nth - 1);
  const unnoticed = await findUnnoticed(chosen, [0], ATTACK_PLAYER);
  console.log(JSON.stringify({ mutations: chosen.length, unnoticed }));
  return unnoticed.length > 0 ? 1 : 0;
}
