import type { Logger } from 'pino';
import type { Bus, Lease } from '../bus/bus.ts';
import { OneAtATime } from '../bus/one-at-a-time.ts';
import type { GatewayCertificates, Revocation } from './store/pki-records.ts';

/** The workers that hold a lease; `known` once they have been read. */
export interface LeaseList {
  readonly known: boolean;
  list(): readonly Lease[];
}

export interface Revocations {
  /** Whether all certificates of the gateway were revoked at the last read. */
  isRevoked(gateway: string): boolean;
  /** When a certificate of the gateway was revoked last, milliseconds since the Unix epoch; 0: never. */
  revokedAt(gateway: string): number;
}

export interface LiveWorkersParts {
  bus: Bus;
  log: Logger;
  certificates: Pick<GatewayCertificates, 'revocations'>;
}

/**
 * The workers that hold a lease, read every `intervalMs`. While the bus is away the last list counts: a
 * worker is gone only if a newly read list lacks it. Ends leases of revoked gateways.
 */
export class LiveWorkers implements LeaseList, Revocations {
  readonly #bus: Bus;
  readonly #log: Logger;
  readonly #certificates: LiveWorkersParts['certificates'];
  #revoked: ReadonlyMap<string, Revocation> = new Map();
  readonly #intervalMs: number;
  #leases = new Map<string, Lease>();
  #timer: NodeJS.Timeout | undefined;
  readonly #reads: OneAtATime;
  #known = false;
  #onChange: (up: Lease[], gone: Lease[]) => void = () => {};

  constructor({ bus, log, certificates }: LiveWorkersParts, intervalMs: number) {
    this.#bus = bus;
    this.#log = log;
    this.#certificates = certificates;
    this.#intervalMs = intervalMs;
    this.#reads = new OneAtATime(
      () => this.#read(),
      (error) => log.error({ err: error }, 'the round of leases failed'),
    );
  }

  /** Calls `onChange` with incarnations that came and went, each once. */
  async start(onChange: (up: Lease[], gone: Lease[]) => void): Promise<void> {
    this.#onChange = onChange;
    await this.refresh();
    this.#timer = setInterval(() => {
      if (!this.#reads.running) void this.refresh();
    }, this.#intervalMs);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    await this.#reads.settled();
  }

  /** Completed rounds. */
  get rounds(): number {
    return this.#reads.rounds;
  }

  /** Whether the list has been read. */
  get known(): boolean {
    return this.#known;
  }

  list(): readonly Lease[] {
    return [...this.#leases.values()];
  }

  /** Resolves after a read that began after the call. */
  refresh(): Promise<void> {
    return this.#reads.ask();
  }

  async #read(): Promise<void> {
    let leases: Lease[];
    await this.#readRevoked();
    try {
      leases = await this.#withoutRevoked(await this.#bus.leases.list());
    } catch (error) {
      this.#log.warn({ err: error }, 'leases could not be read');
      return;
    }
    this.#known = true;
    const before = this.#leases;
    this.#leases = new Map(leases.map((lease) => [lease.incarnation, lease]));
    const up = leases.filter((lease) => !before.has(lease.incarnation));
    const gone = [...before.values()].filter((lease) => !this.#leases.has(lease.incarnation));
    if (up.length > 0 || gone.length > 0) this.#onChange(up, gone);
  }

  isRevoked(gateway: string): boolean {
    return this.#revoked.get(gateway)?.all ?? false;
  }

  revokedAt(gateway: string): number {
    return this.#revoked.get(gateway)?.at ?? 0;
  }

  /** While the store is away, the last list counts. */
  async #readRevoked(): Promise<void> {
    try {
      const revoked = await this.#certificates.revocations();
      this.#revoked = new Map(revoked.map((each) => [each.gateway, each]));
    } catch (error) {
      this.#log.debug({ err: error }, 'revoked gateways were not read');
    }
  }

  /** Their workers lose lease and outbox, so they receive nothing more. */
  async #withoutRevoked(leases: Lease[]): Promise<Lease[]> {
    const revoked = leases.filter(({ identity }) => this.isRevoked(identity.gateway));
    await Promise.all(
      revoked.map(async ({ incarnation, identity }) => {
        this.#log.warn({ worker: identity.worker }, 'ended the lease of a revoked gateway');
        await this.#bus.leases.release(incarnation);
      }),
    );
    return leases.filter((lease) => !revoked.includes(lease));
  }
}
