/**
 * The fault matrix: `node dist/test/faults/run.js [--quick] [--seed N] [--random N] [--list] [name ...]`. The
 * last line of stdout is JSON with the totals; the exit code is 0 only when every scenario held and nothing
 * was lost.
 *
 * `--mutate NAME` switches a mechanism of recovery off and plays the proof that must notice, `--mutate all`
 * each of them; `--seeds 5` with five seeds. Exit code 0 only when every proof holds with its mechanism and
 * fails without, with each seed.
 */
import { parseArgs } from 'node:util';
import { Matrix } from './matrix.ts';
import { MUTATIONS } from './mutate/mutations.ts';
import { TESTS } from './mutate/play-test.ts';
import { prove } from './mutate/prove.ts';
import { Random } from './random.ts';
import { scenarios } from './scenarios.ts';

const { values, positionals } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
    seed: { type: 'string' },
    random: { type: 'string' },
    lanes: { type: 'string' },
    mutate: { type: 'string' },
    seeds: { type: 'string' },
  },
  allowPositionals: true,
});

function whole(name: string, text: string | undefined, otherwise: number): number {
  const value = text === undefined ? otherwise : Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`--${name} takes a whole number`);
  return value;
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  // The guards end what runs and remove the folders as soon as this process is gone.
  process.once(signal, () => process.exit(signal === 'SIGINT' ? 130 : 143));
}

const seed = whole('seed', values.seed, Math.floor(Math.random() * 1_000_000));
const drawn = whole('random', values.random, values.quick ? 1 : 3);
const all = scenarios(values.quick, drawn, new Random(`drawn ${seed}`));
const chosen =
  positionals.length === 0
    ? all.filter(({ quick }) => quick || !values.quick)
    : positionals.map((name) => {
        const scenario = all.find((each) => each.name === name);
        if (!scenario) throw new Error(`there is no scenario ${name}; --list tells which there are`);
        return scenario;
      });

async function mutated(name: string): Promise<number> {
  const wanted = MUTATIONS.filter((mutation) => name === 'all' || mutation.name === name);
  if (wanted.length === 0)
    throw new Error(`there is no ${name}: ${MUTATIONS.map((each) => each.name).join(', ')}`);
  const seeds = Array.from({ length: whole('seeds', values.seeds, 1) }, (_, n) => seed + n);
  const { unnoticed, broken } = await prove(wanted, seeds, TESTS);
  console.log(JSON.stringify({ mutations: wanted.length, unnoticed, broken, seeds }));
  return seeds.length === 0 || unnoticed.length + broken.length > 0 ? 1 : 0;
}

if (values.list) {
  for (const { name, quick, faults, shape } of all) {
    const where = `${shape.admins} on ${shape.store}, ${shape.bus}`;
    console.log(
      `${name}${quick ? ' (quick)' : ''}: ${faults.map((fault) => fault.name).join(', and ')} [${where}]`,
    );
  }
} else if (values.mutate !== undefined) {
  process.exitCode = await mutated(values.mutate);
} else {
  const lanes = whole('lanes', values.lanes, 3);
  process.exitCode = await new Matrix({ seed, lanes }).run(chosen);
}
