/**
 * The fault matrix: `node dist/test/faults/run.js [--quick] [--seed N] [--random N] [--list] [name ...]`. The last line of
 * stdout is JSON with the totals; the exit code is 0 only when every scenario held and nothing was lost.
 *
 * `--mutate NAME` plays it without one of the mechanisms of recovery, and must fail; `--mutate all` does that for each of them,
 * with the scenarios that depend on it, and fails when one run does not.
 */
import { parseArgs } from 'node:util';
import { Matrix } from './matrix.ts';
import { MUTATIONS, runMutated } from './mutations.ts';
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
    'expect-failure': { type: 'boolean', default: false },
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
  const unnoticed: string[] = [];
  for (const mutation of wanted) {
    process.stderr.write(`without a mechanism, ${mutation.name}: ${mutation.title}\n`);
    const names = positionals.length > 0 ? positionals : mutation.shownBy;
    const args = ['--quick', '--expect-failure', '--lanes', '1', '--seed', String(seed), ...names];
    if ((await runMutated(mutation, args)) === 0) unnoticed.push(mutation.name);
  }
  console.log(JSON.stringify({ mutations: wanted.length, unnoticed }));
  if (name === 'all') return unnoticed.length;
  return unnoticed.length > 0 ? 0 : 1;
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
  const matrix = new Matrix({ seed, lanes, expectFailure: values['expect-failure'] });
  process.exitCode = await matrix.run(chosen);
}
