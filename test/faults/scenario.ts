/** One fault, or several at once, while commands flow and devices come and go; and the judgement of it. */
import { setTimeout as pause } from 'node:timers/promises';
import { listed } from '../fleet/ledger.ts';
import { waitFor } from '../wait.ts';
import { Churn } from './churn.ts';
import type { Shape } from './deployment.ts';
import type { Fault } from './fault.ts';
import { HealthWatch } from './health.ts';
import type { Random } from './random.ts';
import { recordProblems } from './record.ts';
import { startTraffic } from './traffic-kinds.ts';
import type { World } from './world.ts';

export interface Scenario {
  name: string;
  /** What it needs; scenarios with the same shape share a world. */
  shape: Shape;
  faults: readonly Fault[];
  /** Within which everything has to work again on an idle machine, milliseconds. */
  recoverMs: number;
  /** Belongs to the short run. */
  quick: boolean;
}

export interface Outcome {
  /** Until everything worked again: the longest. */
  recoverySeconds: number;
  problems: string[];
}

const WARM_UP_MS = 1_500;
const AFTER_MS = 500;
const MOVED = '1000 redirected';
const FINISH_LIMIT_MS = 60_000;

export async function play(world: World, scenario: Scenario, random: Random): Promise<Outcome> {
  const { faults, recoverMs } = scenario;
  const problems: string[] = [];
  const kind = faults.find((fault) => fault.traffic)?.traffic ?? 'usual';
  const traffic = startTraffic(world, random, kind);
  world.traffic = traffic;
  const inMemory = world.devices.filter(({ process }) => process !== world.keptProcess);
  const churn = new Churn(world.fleet, inMemory, random);
  let recoverySeconds = 0;
  const recover = async (inForce: boolean) => {
    await churn.settle();
    recoverySeconds = Math.max(recoverySeconds, await world.works(recoverMs, inForce));
  };
  const begun: Fault[] = [];
  const health = new HealthWatch(world.deployment);
  health.start();
  try {
    churn.start();
    await pause(WARM_UP_MS);
    const keepsSockets = faults.every((fault) => fault.keepsSockets);
    if (keepsSockets) await churn.settle();
    const watch = new Set(keepsSockets ? world.fleet.connected : []);
    for (const fault of faults) {
      begun.push(fault);
      await fault.begin(world, random);
    }
    const began = performance.now();
    if (faults.every((fault) => fault.survivable)) await recover(true);
    await pause(Math.max(0, ...faults.map(({ holdMs }) => holdMs - (performance.now() - began))));
    // One that moves to another gateway in good order has lost nothing.
    const dropped = [...watch].filter(({ where, endings }) => where === null && endings.at(-1) !== MOVED);
    if (dropped.length > 0) {
      problems.push(`${dropped.length} devices lost their connections:${world.fleet.endingsOf(dropped)}`);
    }
    if (faults.length === 1) problems.push(...kept(world, faults[0] as Fault, health));
    await endAll(world, begun);
    await recover(false);
    const options = { timeoutMs: recoverMs, intervalMs: 200, what: 'all programs to be ready' };
    await waitFor(async () => (await health.allReady()) === undefined, options).catch(
      async (error: Error) => {
        throw new Error(`${error.message}: ${await health.allReady()}`);
      },
    );
    await pause(AFTER_MS);
  } catch (error) {
    // What became of the commands is judged all the same.
    problems.push(`it did not recover: ${(error as Error).message}`);
  }
  await health.stop();
  await endAll(world, begun);
  problems.push(...health.complaints.slice(0, 3));
  await traffic.stop();
  await churn.settle();
  problems.push(...(await judge(world, scenario)));
  return { recoverySeconds, problems };
}

/** What programs kept to themselves: that they miss what the fault took from them. */
function kept({ deployment }: World, { darkens }: Fault, { missed }: HealthWatch): string[] {
  if (!darkens) return [];
  const { from, dependency } = darkens;
  const who = from === 'everybody' ? deployment.programs : from === 'admins' ? deployment.admins : [from];
  const silent = who.filter((name) => !missed.get(name)?.has(dependency));
  return silent.map((name) => `${name} did not say at /ready that it misses its ${dependency}`);
}

/** The last that began ends first; one whose end fails is not ended twice. */
async function endAll(world: World, begun: Fault[]): Promise<void> {
  begun.sort((a, b) => Number(b.endsLast ?? false) - Number(a.endsLast ?? false));
  for (let fault = begun.pop(); fault; fault = begun.pop()) await fault.end?.(world);
}

/** Everything that was given has ended, and ledger, database and devices agree. */
async function judge(world: World, { faults }: Scenario): Promise<string[]> {
  const misdated = faults.some(({ misdates }) => misdates);
  const judgement = await world.ledger.judge({
    ordered: world.deployment.shape.admins === 1 && !misdated,
    misdated,
    finishLimitMs: FINISH_LIMIT_MS,
  });
  const problems = [...judgement.problems, ...(await recordProblems(world, judgement))];
  problems.push(...world.api.complaints.splice(0).map((text) => `the API: ${text}`));
  return problems;
}

/** For the message of a scenario that failed. */
export function describe(problems: readonly string[]): string {
  return `${problems.length} problems:${listed(problems)}`;
}
