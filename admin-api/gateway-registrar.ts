import { setTimeout as pause } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Lease } from '../bus/bus.ts';
import { ID_PATTERN } from '../protocol/index.ts';
import type { DirectoryProjector } from './directory-projector.ts';
import type { EventHub } from './event-hub.ts';
import type { Store } from './store/store.ts';

const RETRY_MS = 1000;

/**
 * Puts gateways on record that announce themselves through a lease and are not known yet, with the settings they were
 * started with. From then on what operators set rules.
 */
export class GatewayRegistrar {
  readonly #store: Store;
  readonly #projector: DirectoryProjector;
  readonly #hub: EventHub;
  readonly #log: Logger;
  readonly #now: () => number;
  #work: Promise<void> = Promise.resolve();
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

  /** Takes note of what came and went, as soon as the store lets it. */
  workersChanged(up: readonly Lease[], gone: readonly Lease[]): void {
    this.#work = this.#work.then(async () => {
      while (!this.#stopping) {
        try {
          await this.#record(up, gone);
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

  async #record(up: readonly Lease[], gone: readonly Lease[]): Promise<void> {
    const at = this.#now();
    for (const { identity } of up) {
      if (await this.#register(identity.gateway, identity.initial, at)) {
        this.#log.info({ gateway: identity.gateway }, 'gateway registered');
      }
    }
    const event = (type: string) => (lease: Lease) => ({
      at,
      type,
      data: { name: lease.identity.gateway, worker: lease.identity.worker, incarnation: lease.incarnation },
    });
    await this.#store.events.append([...up.map(event('gateway.up')), ...gone.map(event('gateway.down'))]);
    this.#hub.notify();
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
