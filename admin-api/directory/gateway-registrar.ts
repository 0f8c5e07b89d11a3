import { setTimeout as pause } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Lease } from '../../bus/bus.ts';
import { ID_PATTERN } from '../../protocol/index.ts';
import type { EventHub } from '../event-hub.ts';
import type { Store } from '../store/store.ts';
import type { DirectoryProjector } from './projector.ts';
import { refusalOf } from './unregistered.ts';

const RETRY_MS = 1000;
const RETRY_REFUSED_MS = 2_000;

/** Workers recorded as started and not yet as gone: incarnation to gateway and worker. */
const UP = 'workers-up';
type Up = Record<string, { name: string; worker: string }>;

/**
 * Registers unknown gateways that announce themselves through a lease, with the settings they were started
 * with. From then on, operators' settings apply. Each start and end of a worker is reported once, however
 * many administration servers see it, and even if none saw it happen.
 */
export class GatewayRegistrar {
  readonly #store: Store;
  readonly #directory: DirectoryProjector;
  readonly #hub: EventHub;
  readonly #log: Logger;
  readonly #now: () => number;
  #work: Promise<void> = Promise.resolve();
  #before: string[] = [];
  /** Gateways that could not be registered, by name; tried again, as what is missing may appear. */
  readonly #refused = new Map<string, Lease>();
  #timer: NodeJS.Timeout | undefined;
  #stopping = false;

  constructor(parts: {
    store: Store;
    directory: DirectoryProjector;
    hub: EventHub;
    log: Logger;
    now: () => number;
  }) {
    this.#store = parts.store;
    this.#directory = parts.directory;
    this.#hub = parts.hub;
    this.#log = parts.log;
    this.#now = parts.now;
  }

  /** Call it before the leases are first read: workers recorded now and without a lease then are gone. */
  async start(): Promise<void> {
    this.#before = Object.keys(up(await this.#store.meta.get(UP)));
    this.#timer = setInterval(() => {
      if (this.#refused.size > 0) this.workersChanged([...this.#refused.values()], [], []);
    }, RETRY_REFUSED_MS);
  }

  /** Records the workers that came and went, as soon as the store allows; `all` are those alive now. */
  workersChanged(came: readonly Lease[], gone: readonly Lease[], all: readonly Lease[]): void {
    for (const { incarnation, identity } of gone) {
      if (this.#refused.get(identity.gateway)?.incarnation === incarnation)
        this.#refused.delete(identity.gateway);
    }
    const here = new Set(all.map(({ incarnation }) => incarnation));
    const missed = this.#before.filter((incarnation) => !here.has(incarnation));
    this.#before = [];
    const left = [...gone.map(({ incarnation }) => incarnation), ...missed];
    this.#work = this.#work.then(async () => {
      while (!this.#stopping) {
        try {
          await this.#record(came, left);
          return;
        } catch (error) {
          this.#log.warn({ err: error }, 'could not record a change of workers; trying again');
          await pause(RETRY_MS);
        }
      }
    });
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    clearInterval(this.#timer);
    await this.#work;
  }

  async #record(came: readonly Lease[], left: readonly string[]): Promise<void> {
    const at = this.#now();
    for (const lease of came) {
      const { gateway } = lease.identity;
      if (await this.#register(lease, at)) this.#log.info({ gateway }, 'gateway registered');
    }
    await this.#store.transaction((tx) => this.#tell(tx, came, left, at));
    this.#hub.notify();
  }

  /** Only the server that changes the record reports it. */
  async #tell(tx: Store, came: readonly Lease[], left: readonly string[], at: number): Promise<void> {
    for (;;) {
      const before = await tx.meta.get(UP);
      const known = up(before);
      const events: { at: number; type: string; data: unknown }[] = [];
      for (const { incarnation, identity } of came) {
        if (known[incarnation]) continue;
        known[incarnation] = { name: identity.gateway, worker: identity.worker };
        events.push({ at, type: 'gateway.up', data: { ...known[incarnation], incarnation } });
      }
      for (const incarnation of left) {
        if (!known[incarnation]) continue;
        events.push({ at, type: 'gateway.down', data: { ...known[incarnation], incarnation } });
        delete known[incarnation];
      }
      if (events.length === 0) return;
      if (!(await tx.meta.replace(UP, before, JSON.stringify(known)))) continue;
      await tx.events.append(events);
      return;
    }
  }

  async #register(lease: Lease, at: number): Promise<boolean> {
    const { gateway: name, initial } = lease.identity;
    if (!ID_PATTERN.test(name)) return false;
    const known = await this.#store.gateways.get(name);
    // Serving another group than the requested one would admit devices that should not be there.
    const why = known ? null : await refusalOf(this.#store, initial);
    if (why === null) this.#refused.delete(name);
    else {
      if (!this.#refused.has(name)) this.#log.error({ gateway: name, why }, 'gateway not registered');
      this.#refused.set(name, lease);
      this.#directory.gatewaysChangedSoon();
    }
    if (known || why !== null) return false;
    const created = await this.#store.transaction(async (tx) => {
      const created = await tx.gateways.create({
        name,
        groupId: initial.group,
        runPushServer: initial.runPushServer,
        port: initial.port,
        address: initial.address,
        connectionLimit: initial.connectionLimit,
        revision: 1,
        drainingSince: null,
        drainedAt: null,
        createdAt: at,
        updatedAt: at,
      });
      if (created) {
        await tx.events.append([{ at, type: 'gateway.created', data: { name } }]);
        await tx.audit.append({
          at,
          actor: 'system',
          action: 'gateway.register',
          subject: name,
          detail: initial,
        });
      }
      return created;
    });
    this.#directory.gatewaysChangedSoon();
    return created;
  }
}

function up(value: string | null): Up {
  return value === null ? {} : (JSON.parse(value) as Up);
}
