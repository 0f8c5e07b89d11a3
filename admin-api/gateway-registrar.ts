import { setTimeout as pause } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Lease } from '../bus/bus.ts';
import { ID_PATTERN } from '../protocol/index.ts';
import type { DirectoryProjector } from './directory-projector.ts';
import type { EventHub } from './event-hub.ts';
import type { Store } from './store/store.ts';

const RETRY_MS = 1000;

/** The workers whose coming is on record and whose going is not: incarnation to gateway and worker. */
const UP = 'workers-up';
type Up = Record<string, { name: string; worker: string }>;

/**
 * Puts gateways on record that announce themselves through a lease and are not known yet, with the settings they were
 * started with. From then on what operators set rules. That workers came and went is told once, however many
 * administration servers see it, and also when none was there to see it.
 */
export class GatewayRegistrar {
  readonly #store: Store;
  readonly #projector: DirectoryProjector;
  readonly #hub: EventHub;
  readonly #log: Logger;
  readonly #now: () => number;
  #work: Promise<void> = Promise.resolve();
  #before: string[] = [];
  #stopping = false;

  constructor(parts: {
    store: Store;
    projector: DirectoryProjector;
    hub: EventHub;
    log: Logger;
    now: () => number;
  }) {
    this.#store = parts.store;
    this.#projector = parts.projector;
    this.#hub = parts.hub;
    this.#log = parts.log;
    this.#now = parts.now;
  }

  /** To be called before the leases are first read: what is on record now and holds none then is gone. */
  async start(): Promise<void> {
    this.#before = Object.keys(up(await this.#store.meta.get(UP)));
  }

  /** Takes note of what came and went, as soon as the store lets it; `all` that are there now. */
  workersChanged(came: readonly Lease[], gone: readonly Lease[], all: readonly Lease[]): void {
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
          this.#log.warn({ err: error }, 'a change of workers is not on record; trying again');
          await pause(RETRY_MS);
        }
      }
    });
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#work;
  }

  async #record(came: readonly Lease[], left: readonly string[]): Promise<void> {
    const at = this.#now();
    for (const { identity } of came) {
      if (await this.#register(identity.gateway, identity.initial, at)) {
        this.#log.info({ gateway: identity.gateway }, 'gateway registered');
      }
    }
    await this.#store.transaction((tx) => this.#tell(tx, came, left, at));
    this.#hub.notify();
  }

  /** Only who changes the record tells of it. */
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

  async #register(name: string, initial: Lease['identity']['initial'], at: number): Promise<boolean> {
    if (!ID_PATTERN.test(name) || (await this.#store.gateways.get(name))) return false;
    const group = await this.#store.groups.get(initial.group);
    if (!group) {
      // Serving another group than the one asked for would let in devices nobody meant it to.
      this.#log.error(
        { gateway: name, group: initial.group },
        'gateway not registered: its group does not exist',
      );
      return false;
    }
    const created = await this.#store.transaction(async (tx) => {
      const created = await tx.gateways.create({
        name,
        groupId: group.id,
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
    this.#projector.gatewaysChangedSoon();
    return created;
  }
}

function up(value: string | null): Up {
  return value === null ? {} : (JSON.parse(value) as Up);
}
