/**
 * The scenarios of tunnels: `node dist/test/tunnels/run.js [--list] [name or number ...]`. The last line of
 * stdout is JSON with the totals; the exit code is 0 only when every scenario held and every byte arrived.
 */
import { parseArgs } from 'node:util';
import type { TunnelView } from '../../cli/api/views.ts';
import { SCENARIOS } from './scenarios.ts';
import { type Scenario, since, World } from './world.ts';

const { values, positionals } = parseArgs({
  options: { list: { type: 'boolean', default: false } },
  allowPositionals: true,
});

if (values.list) {
  for (const [n, { name, title }] of SCENARIOS.entries()) console.log(`${n + 1} ${name}: ${title}`);
} else {
  process.exitCode = await runAll(positionals);
}

async function runAll(wanted: readonly string[]): Promise<number> {
  for (const text of wanted) {
    if (!SCENARIOS.some((_, n) => isMeant(n, text)))
      throw new Error(`there is no scenario ${text}; see --list`);
  }
  const numbers = SCENARIOS.map((_, n) => n).filter(
    (n) => wanted.length === 0 || wanted.some((text) => isMeant(n, text)),
  );
  let failed = 0;
  const began = performance.now();
  const world = await World.start((text) => process.stderr.write(`   ${text}\n`));
  let tunnels = 0;
  try {
    for (const n of numbers) await SCENARIOS[n]?.prepare?.(world);
    for (const together of turns(numbers)) {
      world.deployment.begin();
      const held = await Promise.all(together.map((n) => play(world, n)));
      failed += held.filter((holds) => !holds).length;
    }
    tunnels = (await world.deployment.api.list<TunnelView>('/v1/tunnels', {}, 100_000)).items.length;
  } finally {
    await world.stop();
  }
  process.stderr.write(`${since(began)} in all\n`);
  const { bytes, mismatched, resumed, relayRatio, sshRatio } = world;
  console.log(JSON.stringify({ tunnels, bytes, mismatched, resumed, relayRatio, sshRatio }));
  return failed + mismatched === 0 ? 0 : 1;
}

/** Scenarios one after the other, those that only wait together. */
function turns(numbers: readonly number[]): number[][] {
  const all: number[][] = [];
  for (const n of numbers) {
    const before = all.at(-1)?.at(-1);
    const beside = before !== undefined && SCENARIOS[before]?.waits && SCENARIOS[n]?.waits;
    if (beside) all.at(-1)?.push(n);
    else all.push([n]);
  }
  return all;
}

/** Whether it holds. */
async function play(world: World, n: number): Promise<boolean> {
  const { name, title, run } = SCENARIOS[n] as Scenario;
  const from = performance.now();
  process.stderr.write(`${n + 1} ${name}: ${title}\n`);
  try {
    await run(world);
    process.stderr.write(`   ${name} holds, ${since(from)}\n`);
    return true;
  } catch (error) {
    const words = `${describe(error)}\n${world.deployment.lastWords()}`;
    process.stderr.write(`   ${name} FAILED after ${since(from)}: ${words}\n`);
    return false;
  }
}

function isMeant(n: number, text: string): boolean {
  return SCENARIOS[n]?.name === text || String(n + 1) === text;
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause === undefined ? '' : `\n  because: ${describe(error.cause)}`;
  return `${shortened(error.stack ?? error.message)}${cause}`;
}

/** Errors of programs may tell all that these said, and the end of it is what matters. */
function shortened(text: string, most = 40): string {
  const lines = text.split('\n');
  if (lines.length <= most) return text;
  return [lines[0], `  (${lines.length - most} lines)`, ...lines.slice(1 - most)].join('\n');
}
