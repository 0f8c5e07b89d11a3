/**
 * The fault matrix: `node dist/test/faults/run.js [--quick] [--seed N] [--random N] [--list] [name ...]`. The last line of
 * stdout is JSON with the totals; the exit code is 0 only when every scenario held and nothing was lost.
 */
import { parseArgs } from 'node:util';
import { Matrix } from './matrix.ts';
import { Random } from './random.ts';
import { scenarios } from './scenarios.ts';

const { values, positionals } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
    seed: { type: 'string' },
    random: { type: 'string' },
    lanes: { type: 'string' },
  },
  allowPositionals: true,
});

function whole(name: string, text: string | undefined, otherwise: number): number {
  const value = text === undefined ? otherwise : Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`--${name} takes a whole number`);
  return value;
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

if (values.list) {
  for (const { name, quick, faults, shape } of all) {
    const where = `${shape.admins} on ${shape.store}, ${shape.bus}`;
    console.log(
      `${name}${quick ? ' (quick)' : ''}: ${faults.map((fault) => fault.name).join(', and ')} [${where}]`,
    );
  }
} else {
  const matrix = new Matrix({ seed, lanes: whole('lanes', values.lanes, 3) });
  process.exitCode = await matrix.run(chosen);
}
