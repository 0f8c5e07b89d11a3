/**
 * Whole sessions of right and wrong frames in any order, tunnels' legs included, against a gateway of real
 * processes with honest devices beside: `node dist/test/fuzz/run.js [--frames N] [--seed N]`. The last line
 * of stdout is JSON; the exit code is 0 only when nothing crashed, hung or grew, every wrong frame ended its
 * session, and no honest device noticed.
 */
import { parseArgs } from 'node:util';
import { enrolByHand } from '../e2e/enrol-by-hand.ts';
import { Lab } from '../e2e/lab.ts';
import { Random } from '../faults/random.ts';
import type { Identity } from '../gateway/raw-device.ts';
import { Carrier } from './carrier.ts';
import { playDeviceSession } from './device-session.ts';
import { playStrangerLeg, playTunnel } from './leg-session.ts';
import { Neighbours } from './neighbours.ts';
import { playRawSocket } from './raw-socket.ts';
import { playSealedTunnel } from './sealed-session.ts';
import { Tally } from './tally.ts';
import { GROWTH_LIMIT, Watch } from './watch.ts';

const FRAMES = 100_000;
const LANES = 32;
const CARRIERS = 4;
const LOOKS = 40;
/** One session in so many is preceded by a command to its device. */
const COMMANDED = 0.05;

const { values } = parseArgs({ options: { frames: { type: 'string' }, seed: { type: 'string' } } });
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => process.exit(signal === 'SIGINT' ? 130 : 143));
}

function whole(name: string, text: string | undefined, otherwise: number): number {
  const value = text === undefined ? otherwise : Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new Error(`--${name} takes a whole number above 0`);
  return value;
}

const seed = whole('seed', values.seed, 1 + Math.floor(Math.random() * 1_000_000));
const tally = new Tally(whole('frames', values.frames, FRAMES));
process.stderr.write(`seed ${seed}\n`);
process.exitCode = await run();

async function run(): Promise<number> {
  const lab = await Lab.start({ bus: 'redis', gateways: 1, adminFlags: ['--tunnels-per-operator', '1000'] });
  const carriers: Carrier[] = [];
  let neighbours: Neighbours | undefined;
  const began = performance.now();
  try {
    const [gateway] = (await lab.operator.gateways()).items;
    const url = `${gateway?.address}/`;
    neighbours = await Neighbours.start(lab, url);
    await lab.group('fuzzed');
    const token = await lab.operator.enrolmentToken('fuzzed', LANES + CARRIERS);
    const identity = () => enrolByHand(lab.deployment.server, token);
    for (let n = 0; n < CARRIERS; n++) carriers.push(await Carrier.start(url, await identity()));
    const watch = await Watch.start(lab, 'gw1');
    const looking = look(watch);
    const lanes = Array.from({ length: LANES }, async (_, n) =>
      lane(n, lab, url, await identity(), carriers),
    );
    await Promise.all(lanes);
    await looking;
    const seconds = Math.round((performance.now() - began) / 1_000);
    const disturbed = await neighbours.judge();
    for (const { lost } of carriers)
      if (lost) disturbed.push(`a device with tunnels lost its session: ${lost}`);
    const broken = await watch.problems();
    const { frames, sessions, legs, sockets, hung, unpunished, unjust } = tally;
    process.stderr.write(`${JSON.stringify(Object.fromEntries([...tally.ends].sort()))}\n`);
    process.stderr.write(`${JSON.stringify(watch.memory)}\n`);
    for (const problem of [...tally.problems, ...broken, ...disturbed]) process.stderr.write(`${problem}\n`);
    const commands = neighbours.answered;
    const faults = { hung, unpunished, unjust, broken: broken.length, disturbed: disturbed.length };
    const counts = { frames, sessions, legs, sockets, commands, seconds };
    console.log(JSON.stringify({ ...counts, ...faults, grownMiB: watch.grown, seed }));
    const wrong = Object.values(faults).reduce((sum, count) => sum + count, 0);
    return wrong === 0 && watch.grown <= GROWTH_LIMIT ? 0 : 1;
  } catch (error) {
    process.stderr.write(`${lab.deployment.lastWords()}\n`);
    throw error;
  } finally {
    for (const carrier of carriers) carrier.stop();
    await neighbours?.stop();
    await lab.stop();
  }
}

/** One connection after the other, until all frames were sent; what they say depends on the seed alone. */
async function lane(
  number: number,
  lab: Lab,
  url: string,
  identity: Identity,
  carriers: readonly Carrier[],
): Promise<void> {
  const { api } = lab.operator;
  for (let n = 0; !tally.done; n++) {
    const random = new Random(`${seed} ${number} ${n}`);
    const drawn = random.next();
    if (drawn < 0.7) {
      if (random.next() < COMMANDED) {
        const target = { devices: [identity.id] };
        await api.request('POST', '/v1/commands', { body: { type: 'statistics', target } });
      }
      await playDeviceSession({ url, identity, random, tally });
    } else if (drawn < 0.8) await playRawSocket(url, random, tally);
    else if (drawn < 0.9) await playStrangerLeg(url, random, tally);
    else {
      const opened = await random.one(carriers).open(lab.operator).catch(ignoreBusy);
      if (!opened) continue;
      await (random.next() < 0.5 ? playTunnel : playSealedTunnel)(opened, random, tally);
      await api.request('POST', `/v1/tunnels/${opened.id}/close`, { body: {} });
    }
  }
}

/** A device has so many tunnels at most, and some of them end late. */
function ignoreBusy(error: Error): undefined {
  tally.ended('tunnel', `not opened: ${error.message.slice(0, 60)}`);
}

async function look(watch: Watch): Promise<void> {
  for (let next = 0; ; ) {
    if (tally.progress >= next / LOOKS || tally.done) {
      await watch.look(tally.progress);
      next++;
    }
    if (tally.done) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}
