/**
 * A fluid model of work in a row of stages: executions are a liquid that flows from one buffer to the next. A
 * stage is as fast as its loops allow (a loop does one thing after another, here and in what it waits for),
 * and stages that use the same resource share it in proportion to what they ask. Queues have no bound, and a
 * batch is as fast as its pieces.
 */
export interface Stage {
  name: string;
  /** Seconds of each resource for one unit of work. */
  uses: Readonly<Record<string, number>>;
  /**
   * Loops that work side by side; each spends the sum of `uses` on a unit. Absent: as many as the resources
   * feed.
   */
  loops?: number;
  /** The stage may be at most so many units ahead of the stage named. */
  window?: { ahead: number; of: string };
}

/** Capacity in seconds of work a second, for example 8 for eight cores. */
export type Resources = Readonly<Record<string, number>>;

export interface Run {
  /** By stage: when a share of the work (0 to 1) was done, seconds. */
  timeTo(stage: string, share: number): number;
  /** Samples for a plot: seconds and share done, by stage. */
  readonly curves: Readonly<Record<string, readonly (readonly [seconds: number, share: number])[]>>;
}

const STEPS = 2_000;

/** `units` of work enter the first stage at once. */
export function runFluid(units: number, stages: readonly Stage[], resources: Resources): Run {
  const done = stages.map(() => 0);
  const curves = stages.map((): [number, number][] => [[0, 0]]);
  // No step is longer than a fraction of what the slowest stage needs alone.
  const step = Math.max(...stages.map((stage) => units / fastest(stage, resources))) / STEPS;
  let time = 0;
  for (let turns = 0; (done.at(-1) ?? 0) < units * (1 - 1e-9); turns += 1) {
    if (turns > STEPS * 1_000) throw new Error('the model does not come to an end');
    const wanted = stages.map((stage, at) => {
      const before = at === 0 ? units : (done[at - 1] as number);
      const window = stage.window;
      const limit =
        window === undefined
          ? before
          : Math.min(
              before,
              (done[stages.findIndex(({ name }) => name === window.of)] as number) + window.ahead,
            );
      const waiting = Math.max(0, limit - (done[at] as number));
      return Math.min(waiting / step, loopRate(stage));
    });
    const rates = shared(wanted, stages, resources);
    time += step;
    for (const [at, rate] of rates.entries()) {
      done[at] = Math.min(units, (done[at] as number) + rate * step);
      curves[at]?.push([time, (done[at] as number) / units]);
    }
  }
  const named = Object.fromEntries(stages.map(({ name }, at) => [name, curves[at] as [number, number][]]));
  return {
    curves: named,
    timeTo: (stage, share) => named[stage]?.find(([, at]) => at >= share - 1e-9)?.[0] ?? Number.NaN,
  };
}

/** Units a second of a stage that has the resources to itself. */
export function fastest(stage: Stage, resources: Resources): number {
  const rates = Object.entries(stage.uses).map(([name, each]) =>
    each === 0 ? Infinity : capacity(resources, name) / each,
  );
  return Math.min(loopRate(stage), ...rates);
}

function loopRate({ uses, loops }: Stage): number {
  if (loops === undefined) return Infinity;
  const each = Object.values(uses).reduce((sum, seconds) => sum + seconds, 0);
  return each === 0 ? Infinity : loops / each;
}

/** Rates after every resource that is asked for more than it has was shared in proportion. */
function shared(wanted: readonly number[], stages: readonly Stage[], resources: Resources): number[] {
  const rates = [...wanted];
  for (const name of Object.keys(resources)) {
    const asked = stages.reduce((sum, { uses }, at) => sum + (rates[at] as number) * (uses[name] ?? 0), 0);
    const share = capacity(resources, name) / asked;
    if (share >= 1 || asked === 0) continue;
    for (const [at, { uses }] of stages.entries()) {
      if ((uses[name] ?? 0) > 0) rates[at] = (rates[at] as number) * share;
    }
  }
  return rates;
}

function capacity(resources: Resources, name: string): number {
  const value = resources[name];
  if (value === undefined) throw new Error(`no resource named ${name}`);
  return value;
}
