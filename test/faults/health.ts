/** What the programs tell of themselves while something is wrong, at `/ready` and `/live`. */
import { setTimeout as pause } from 'node:timers/promises';
import type { FaultDeployment, ProgramName } from './deployment.ts';

const LOOK_MS = 500;
const ANSWER_LIMIT_MS = 2_000;

interface Report {
  ok: boolean;
  since: string;
  reason?: string;
}

interface Health {
  ready?: boolean;
  live?: boolean;
  since?: string;
  dependencies?: Record<string, Report>;
  loops?: Record<string, Report>;
  /** Of a gateway. */
  workers?: { dependencies?: Record<string, Report> }[];
}

/** Looks at every program twice a second, from `start` to `stop`. One that does not answer says nothing. */
export class HealthWatch {
  /** Of each program, what it missed and said so: 503, with the name, since when and why. */
  readonly missed = new Map<ProgramName, Set<string>>();
  /** Answers that no fault excuses. */
  readonly complaints: string[] = [];
  readonly #deployment: FaultDeployment;
  readonly #over = new AbortController();
  #looking: Promise<unknown> = Promise.resolve();

  constructor(deployment: FaultDeployment) {
    this.#deployment = deployment;
  }

  start(): void {
    this.#looking = Promise.all(this.#deployment.programs.map((name) => this.#watch(name)));
  }

  async stop(): Promise<void> {
    this.#over.abort();
    await this.#looking;
  }

  /** Whether every program says that it is ready. */
  async allReady(): Promise<string | undefined> {
    for (const name of this.#deployment.programs) {
      const answer = await this.#ask(name, '/ready');
      if (answer?.status !== 200) return `${name} is not ready: ${JSON.stringify(answer?.health)}`;
    }
    return undefined;
  }

  async #watch(name: ProgramName): Promise<void> {
    const { signal } = this.#over;
    while (!signal.aborted) {
      const ready = await this.#ask(name, '/ready');
      if (ready?.status === 503) this.#note(name, ready.health);
      const live = await this.#ask(name, '/live');
      if (live?.status === 503) this.complaints.push(`${name} is not live: ${JSON.stringify(live.health)}`);
      await pause(LOOK_MS, undefined, { signal }).catch(() => {});
    }
  }

  #note(name: ProgramName, { dependencies, workers = [] }: Health): void {
    const missed = this.missed.get(name) ?? new Set();
    this.missed.set(name, missed);
    for (const reports of [dependencies, ...workers.map((worker) => worker.dependencies)]) {
      for (const [dependency, { ok, since, reason }] of Object.entries(reports ?? {})) {
        if (!ok && reason && Number.isFinite(Date.parse(since))) missed.add(dependency);
      }
    }
  }

  async #ask(name: ProgramName, path: string): Promise<{ status: number; health: Health } | undefined> {
    const url = this.#deployment.healthOf(name);
    if (url === undefined) return undefined;
    try {
      const signal = AbortSignal.any([this.#over.signal, AbortSignal.timeout(ANSWER_LIMIT_MS)]);
      const response = await fetch(url + path, { signal });
      return { status: response.status, health: (await response.json()) as Health };
    } catch {
      return undefined;
    }
  }
}
