/**
 * Strangers against a deployment of real programs: `node dist/test/hostile/run.js [--list] [name ...]`.
 * Beside every attack honest devices and an operator must be served, and the limit that the attack is about
 * must have been reached. The last line of stdout is JSON; the exit code is 0 only when nothing and nobody
 * was harmed.
 */
import { parseArgs } from 'node:util';
import { waitFor } from '../wait.ts';
import { ATTACKS, type Attack } from './attacks.ts';
import type { Harm } from './harm.ts';
import { World } from './world.ts';

const BITES_WITHIN_MS = 20_000;

const { values, positionals } = parseArgs({
  options: { list: { type: 'boolean', default: false } },
  allowPositionals: true,
});

if (values.list) {
  for (const { name, title } of ATTACKS) console.log(`${name}: ${title}`);
} else {
  process.exitCode = await playAll(positionals);
}

async function playAll(wanted: readonly string[]): Promise<number> {
  for (const name of wanted) {
    if (!ATTACKS.some((attack) => attack.name === name))
      throw new Error(`there is no attack ${name}; see --list`);
  }
  const attacks = ATTACKS.filter(({ name }) => wanted.length === 0 || wanted.includes(name));
  const world = await World.start();
  let harmed = 0;
  try {
    for (const attack of attacks) {
      const from = performance.now();
      const harm = await play(world, attack);
      if (harm.length > 0) harmed++;
      const seconds = ((performance.now() - from) / 1_000).toFixed(1);
      const verdict = harm.length === 0 ? 'no harm' : `HARM: ${harm.join('; ')}`;
      process.stderr.write(`${attack.name}: ${attack.title}: ${verdict}, ${seconds} s\n`);
    }
    if (harmed > 0) process.stderr.write(`${world.lab.deployment.lastWords()}\n`);
  } finally {
    await world.stop();
  }
  console.log(JSON.stringify({ attacks: attacks.length, harmed }));
  return harmed === 0 ? 0 : 1;
}

async function play(world: World, attack: Attack): Promise<Harm[]> {
  const over = new AbortController();
  const harm: Harm[] = [];
  const note = (what: string) => (error: unknown) => {
    harm.push(`${what}: ${error instanceof Error ? error.message : String(error)}`);
  };
  // The first look, before anything happens.
  await attack.bites(world);
  const playing = attack.play(world, over.signal).catch(note('the attack'));
  await waitFor(() => attack.bites(world), {
    timeoutMs: BITES_WITHIN_MS,
    intervalMs: 50,
    what: 'its limit to be reached',
  }).catch(note('without effect'));
  await world.honestWork().catch(note('honest work'));
  over.abort();
  await playing;
  harm.push(...(await world.harm()));
  return harm;
}
