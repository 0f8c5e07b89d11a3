/** Plays scenarios: several worlds side by side, because most of a scenario is waiting. */
import { forEachAtOnce } from '../../cli/for-each-at-once.ts';
import type { Shape } from './deployment.ts';
import { Random } from './random.ts';
import { describe, play, type Scenario } from './scenario.ts';
import { World } from './world.ts';

export interface MatrixOptions {
  seed: number;
  /** Worlds side by side. */
  lanes: number;
}

export class Matrix {
  readonly #options: MatrixOptions;
  readonly #began = performance.now();
  readonly #totals = {
    ...{ scenarios: 0, executions: 0, lost: 0, duplicated: 0, nonFinal: 0, outOfOrder: 0, falseEnds: 0 },
  };
  #slowestRecoverySeconds = 0;
  #failed = 0;

  constructor(options: MatrixOptions) {
    this.#options = options;
  }

  /** Resolves with the exit code. */
  async run(scenarios: readonly Scenario[]): Promise<number> {
    this.#say(`${scenarios.length} scenarios, seed ${this.#options.seed}`);
    const queue = new Queue(scenarios);
    const lanes = Array.from({ length: this.#options.lanes }, (_, n) => n + 1);
    await forEachAtOnce(lanes, lanes.length, (lane) => this.#lane(lane, queue));
    const { lost, duplicated, nonFinal, outOfOrder, falseEnds } = this.#totals;
    const slowestRecoverySeconds = Number(this.#slowestRecoverySeconds.toFixed(1));
    console.log(JSON.stringify({ ...this.#totals, slowestRecoverySeconds, seed: this.#options.seed }));
    return this.#failed + lost + duplicated + nonFinal + outOfOrder + falseEnds === 0 ? 0 : 1;
  }

  async #lane(lane: number, queue: Queue): Promise<void> {
    let world: World | undefined;
    const close = async () => {
      if (!world) return;
      for (const [name, count] of Object.entries(world.ledger.totals)) {
        this.#totals[name as keyof World['ledger']['totals']] += count;
      }
      const ended = world;
      world = undefined;
      await ended.stop();
    };
    try {
      for (;;) {
        const scenario = queue.next(world?.deployment.shape);
        if (!scenario) break;
        if (world?.deployment.shape !== scenario.shape) await close();
        this.#totals.scenarios++;
        const what = `${scenario.name}: ${scenario.faults.map(({ name }) => name).join(', and ')}`;
        const began = performance.now();
        try {
          world ??= await World.start(scenario.shape);
          const random = new Random(`${scenario.name} ${this.#options.seed}`);
          const outcome = await play(world, scenario, random);
          this.#slowestRecoverySeconds = Math.max(this.#slowestRecoverySeconds, outcome.recoverySeconds);
          if (outcome.problems.length > 0) throw new Error(describe(outcome.problems));
          const working = `${outcome.recoverySeconds.toFixed(1)} s until all worked`;
          this.#say(`${lane} holds   ${what}; ${working}, ${since(began)} in all`);
        } catch (error) {
          this.#failed++;
          this.#say(`${lane} FAILED  ${what}, after ${since(began)}: ${tell(error)}`);
          if (world) this.#say(`${world.deployment.lastWords()}\n${world.fleet.lastWords()}`);
          await close();
        }
      }
    } finally {
      await close();
    }
  }

  #say(text: string): void {
    process.stderr.write(`${since(this.#began)} ${text}\n`);
  }
}

/** Scenarios that are still to be played, those of the same world one after the other. */
class Queue {
  readonly #waiting: Scenario[];

  constructor(scenarios: readonly Scenario[]) {
    this.#waiting = [...scenarios];
  }

  /** Of the same shape when there is one, else of the shape that has most left. */
  next(shape: Shape | undefined): Scenario | undefined {
    const counts = new Map<Shape, number>();
    for (const each of this.#waiting) counts.set(each.shape, (counts.get(each.shape) ?? 0) + 1);
    const [most] = [...counts].sort(([, a], [, b]) => b - a)[0] ?? [];
    const wanted = shape && counts.has(shape) ? shape : most;
    const at = this.#waiting.findIndex((each) => each.shape === wanted);
    return at < 0 ? undefined : this.#waiting.splice(at, 1)[0];
  }
}

function since(began: number): string {
  return `${((performance.now() - began) / 1_000).toFixed(1)} s`;
}

function tell(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause === undefined ? '' : `\n  because: ${tell(error.cause)}`;
  return `${error.stack ?? error.message}${cause}`;
}
