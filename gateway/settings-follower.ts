/** What follows from the gateways' settings: where to listen, whom to tell, whom to send away. */
import type { Logger } from 'pino';
import type { DirectoryGateway, GatewaySettings } from '../bus/bus.ts';
import type { Connections } from './connections.ts';
import type { GatewayList, Scope } from './gateway-list.ts';
import { announce, drain } from './leaving.ts';
import type { Listener } from './listener.ts';

export interface SettingsFollowerParts {
  connections: Connections;
  gateways: GatewayList;
  listener: Listener;
  drainPerSecond: number;
  /** The worker has a problem to report with its load. */
  onProblem(): void;
  log: Logger;
}

export class SettingsFollower {
  readonly #parts: SettingsFollowerParts;
  #state: 'new' | 'following' | 'stopped' = 'new';
  #draining = false;
  #work: Promise<void> = Promise.resolve();

  constructor(parts: SettingsFollowerParts) {
    this.#parts = parts;
  }

  /** Listens as the settings say, for the first time. Throws `PortUnavailable`. */
  start(): void {
    this.#state = 'following';
    this.#parts.listener.apply(this.#parts.gateways.own);
  }

  /** Listens no more and follows no more settings. */
  stop(): void {
    this.#state = 'stopped';
    this.#parts.listener.close();
  }

  /** The directory's list of gateways was read. */
  gatewaysRead(listed: readonly DirectoryGateway[]): void {
    const { gateways, connections, log } = this.#parts;
    const before = gateways.own;
    const changed = gateways.update(listed);
    const { own } = gateways;
    if (
      own.group !== before.group ||
      own.port !== before.port ||
      own.runPushServer !== before.runPushServer
    ) {
      log.info({ settings: own }, 'settings changed');
    }
    if (this.#state !== 'following') return;
    this.#listen(own);
    if (!own.runPushServer && connections.count > 0) this.#sendAllAway();
    if (changed.size > 0 || own.group !== before.group) this.#announce(changed);
  }

  /** A port that cannot be listened on is reported once, and tried again at every reading. */
  #listen(own: GatewaySettings): void {
    const { listener, log, onProblem } = this.#parts;
    const { problem } = listener;
    try {
      listener.apply(own);
    } catch (error) {
      if (listener.problem === problem) return;
      log.error({ err: error, port: own.port }, 'not listening as the settings say');
      onProblem();
    }
  }

  #announce(changed: ReadonlySet<Scope>): void {
    const { connections, gateways } = this.#parts;
    this.#then(async () => {
      await announce(connections, gateways, changed);
      gateways.keepOnly(new Set([...connections.sessions.values()].map(({ state }) => state.scope)));
    });
  }

  /** The push server was switched off: as at a stop, but the worker stays and can be switched on again. */
  #sendAllAway(): void {
    if (this.#draining) return;
    this.#draining = true;
    const { connections, gateways, drainPerSecond } = this.#parts;
    this.#then(async () => {
      try {
        await drain(connections, gateways, {
          perSecond: drainPerSecond,
          deadline: Number.POSITIVE_INFINITY,
          canceled: () => this.#state === 'stopped' || gateways.own.runPushServer,
        });
      } finally {
        this.#draining = false;
      }
    });
  }

  /** One after another, so that a device is not told of an older list after a newer one. */
  #then(work: () => Promise<void>): void {
    this.#work = this.#work
      .then(work)
      .catch((error: unknown) => this.#parts.log.error({ err: error }, 'settings not followed'));
  }
}
