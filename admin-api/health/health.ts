import type { Bus } from '../../bus/bus.ts';
import { busReport } from '../../bus/bus-report.ts';
import type { DependencyReport, Loops } from '../../health/health.ts';
import type { StoreWatch } from './store-watch.ts';

/** What `/ready` answers. */
export interface AdminReadiness {
  ready: boolean;
  since: string;
  dependencies: Record<string, DependencyReport>;
}

/** What `/live` answers. */
export interface AdminLiveness {
  live: boolean;
  loops: Record<string, DependencyReport>;
  dependencies: Record<string, DependencyReport>;
}

/** The health of the administration server; other dependencies are `add`ed. */
export class Health {
  readonly #bus: Pick<Bus, 'status'>;
  readonly #store: StoreWatch;
  readonly #loops: Loops;
  readonly #more = new Map<string, () => DependencyReport | null>();

  constructor(parts: { bus: Pick<Bus, 'status'>; store: StoreWatch; loops: Loops }) {
    this.#bus = parts.bus;
    this.#store = parts.store;
    this.#loops = parts.loops;
  }

  /** `null`: the server does not depend on it at present. */
  add(name: string, report: () => DependencyReport | null): void {
    this.#more.set(name, report);
  }

  get stuck(): number {
    return this.#loops.stuck;
  }

  /** What a person should check although nothing is missing. */
  warnings(): string[] {
    return Object.values(this.#dependencies()).flatMap(({ warnings = [] }) => warnings);
  }

  readiness(): AdminReadiness {
    const dependencies = this.#dependencies();
    const all = Object.values(dependencies);
    const lost = all.filter(({ ok }) => !ok);
    const times = (lost.length > 0 ? lost : all).map(({ since }) => since).sort();
    // Not ready since the first was lost; ready since the last came back.
    const since = (lost.length > 0 ? times[0] : times.at(-1)) ?? new Date(0).toISOString();
    return { ready: lost.length === 0, since, dependencies };
  }

  liveness(): AdminLiveness {
    return { live: this.#loops.live, loops: this.#loops.report(), dependencies: this.#dependencies() };
  }

  #dependencies(): Record<string, DependencyReport> {
    const found: Record<string, DependencyReport> = {
      store: this.#store.dependency.report(),
      bus: busReport(this.#bus.status()),
    };
    for (const [name, report] of this.#more) {
      const now = report();
      if (now !== null) found[name] = now;
    }
    return found;
  }
}
