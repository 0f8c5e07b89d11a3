import type { Logger } from 'pino';
import { Dependency, type DependencyReport } from '../../health/health.ts';
import { sum } from '../balance/fleet.ts';
import type { LeaseList } from '../live-workers.ts';
import type { Meta } from '../store/store.ts';

const LOOK_MS = 5_000;
/** Fewer devices may be switched off together on purpose. */
const MANY = 20;
/** How long the earlier number is remembered. */
const FORGET_MS = 7 * 86_400_000;
/** The largest number is stored again when it is this old, or has grown by a tenth. */
const KEEP_AGAIN_MS = 3_600_000;
const PEAK = 'fleet-peak';

interface Peak {
  devices: number;
  at: number;
}

/**
 * Warns if no device is connected although many were. It does not make a server unready, but a person must
 * see it first: a fault that turns a whole fleet away looks fine everywhere else.
 */
export class FleetWatch {
  readonly #meta: Meta;
  readonly #leases: LeaseList;
  readonly #log: Logger;
  readonly #now: () => number;
  readonly #state = new Dependency();
  #peak: Peak = { devices: 0, at: 0 };
  #connected = 0;
  #warning: string | null = null;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;

  constructor(parts: { meta: Meta; leases: LeaseList; log: Logger; now: () => number }) {
    this.#meta = parts.meta;
    this.#leases = parts.leases;
    this.#log = parts.log;
    this.#now = parts.now;
    this.#state.good();
  }

  async start(): Promise<void> {
    const kept = await this.#meta.get(PEAK);
    if (kept !== null) this.#peak = JSON.parse(kept) as Peak;
    await this.look();
    this.#timer = setInterval(() => void this.look(), LOOK_MS);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
  }

  /** Devices connected, as workers report. */
  get connected(): number {
    return this.#connected;
  }

  get warning(): string | null {
    return this.#warning;
  }

  report(): DependencyReport {
    return { ...this.#state.report(), ...(this.#warning !== null && { warnings: [this.#warning] }) };
  }

  look(): Promise<void> {
    this.#looking ??= this.#look()
      .catch((error) => this.#log.warn({ err: error }, 'how many devices were connected is not recorded'))
      .finally(() => {
        this.#looking = undefined;
      });
    return this.#looking;
  }

  async #look(): Promise<void> {
    if (!this.#leases.known) return;
    const at = this.#now();
    const connected = sum(this.#leases.list(), ({ load }) => load.connections);
    this.#connected = connected;
    const { devices, at: since } = this.#peak;
    const before = at - since > FORGET_MS ? 0 : devices;
    const warning =
      connected === 0 && before >= MANY
        ? `no device is connected, and ${before.toLocaleString('en')} were on ` +
          `${new Date(since).toISOString()}`
        : null;
    if (warning !== null && this.#warning === null) this.#log.error(warning);
    this.#warning = warning;
    const higher = connected > before * 1.1;
    const renewed = connected >= before * 0.5 && connected > 0 && at - since > KEEP_AGAIN_MS;
    if (!higher && !renewed) return;
    this.#peak = { devices: connected, at };
    await this.#meta.set(PEAK, JSON.stringify(this.#peak));
  }
}
