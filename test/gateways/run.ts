/**
 * The scenarios of gateways that operators configure:
 * `node dist/test/gateways/run.js [--list] [--quick] [name or number ...]`; `--quick` with a quarter of the
 * devices. The last line of stdout is JSON with the totals; the exit code is 0 only when every scenario held
 * and nothing was lost.
 */
import { parseArgs } from 'node:util';
import { SCENARIOS } from './scenarios.ts';
import { since, World } from './world.ts';

const { values, positionals } = parseArgs({
  options: { list: { type: 'boolean', default: false }, quick: { type: 'boolean', default: false } },
  allowPositionals: true,
});

if (values.list) {
  for (const [n, { name, title }] of SCENARIOS.entries()) console.log(`${n + 1} ${name}: ${title}`);
} else {
  process.exitCode = await runAll(chosen(positionals));
}

function chosen(wanted: readonly string[]): number[] {
  if (wanted.length === 0) return SCENARIOS.map((_, n) => n);
  return wanted.map((text) => {
    const n = SCENARIOS.findIndex(({ name }, index) => name === text || String(index + 1) === text);
    if (n < 0) throw new Error(`there is no scenario ${text}; --list tells which there are`);
    return n;
  });
}

/** One world for all; after a scenario that failed, the next begins in a fresh one. */
async function runAll(numbers: readonly number[]): Promise<number> {
  const total = {
    scenarios: 0,
    devices: 0,
    executions: 0,
    lost: 0,
    duplicated: 0,
    nonFinal: 0,
    worstSpread: 0,
  };
  let failed = 0;
  let world: World | undefined;
  let number = 0;
  const say = (text: string) => process.stderr.write(`${number}: ${text}\n`);
  const close = async () => {
    if (!world) return;
    const { executions, lost, duplicated, nonFinal } = world.ledger.totals;
    total.executions += executions;
    total.lost += lost;
    total.duplicated += duplicated;
    total.nonFinal += nonFinal;
    total.devices += world.fleet.members.size;
    total.worstSpread = Math.max(total.worstSpread, world.worstSpread);
    await world.stop();
    world = undefined;
  };
  try {
    for (const index of numbers) {
      const scenario = SCENARIOS[index];
      if (!scenario) continue;
      number = index + 1;
      const began = performance.now();
      say(`${scenario.name}: ${scenario.title}`);
      total.scenarios++;
      try {
        world ??= await World.start(say, values.quick);
        await scenario.run(world);
        await world.ledger.reconcile();
        say(`holds, ${since(began)}; ${world.ledger.totals.executions} executions so far`);
      } catch (error) {
        failed++;
        say(`FAILED after ${since(began)}: ${describe(error)}`);
        process.stderr.write(`${world?.deployment.lastWords() ?? ''}\n${world?.fleet.lastWords() ?? ''}\n`);
        await close();
      }
    }
  } finally {
    await close();
  }
  const { lost, duplicated, nonFinal, worstSpread } = total;
  console.log(JSON.stringify({ ...total, worstSpread: Number(worstSpread.toFixed(3)) }));
  return failed + lost + duplicated + nonFinal === 0 ? 0 : 1;
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause === undefined ? '' : `\n  because: ${describe(error.cause)}`;
  return `${error.stack ?? error.message}${cause}`;
}
