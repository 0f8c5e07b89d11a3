/** What follows from the gateways' settings: where to listen, whom to tell, whom to send away. */
import type { Logger } from 'pino';
import type { DirectoryGateway } from '../bus/bus.ts';
import { AddressCheck } from './address-check.ts';
import { announce } from './announce.ts';
import type { Connections } from './connections.ts';
import type { Departures } from './departures.ts';
import type { GatewayList, OwnGateway, Scope } from './gateway-list.ts';
import type { Listener } from './listener.ts';

export interface SettingsFollowerParts {
  gateway: string;
  connections: Connections;
  gateways: GatewayList;
  listener: Listener;
  departures: Departures;
  log: Logger;
}

export class SettingsFollower {
  readonly #parts: SettingsFollowerParts;
  readonly #address: AddressCheck;
  #state: 'new' | 'following' | 'stopped' = 'new';
  #listed: readonly DirectoryGateway[] = [];
  #applied = 0;
  #loggedProblem: string | undefined;
  #work: Promise<void> = Promise.resolve();

  constructor(parts: SettingsFollowerParts) {
    this.#parts = parts;
    this.#address = new AddressCheck(() => this.gatewaysRead(this.#listed));
  }

  /** Revision of the settings that are wholly applied; 0 for those the gateway was started with. */
  get applied(): number {
    return this.#applied;
  }

  /** What keeps the settings from being applied. */
  get problem(): string | undefined {
    return this.#parts.listener.problem ?? this.#address.problem;
  }

  /** Follows the settings from now on. Rejects with `PortUnavailable`. */
  async start(): Promise<void> {
    this.#state = 'following';
    await this.#parts.listener.start();
    this.gatewaysRead(this.#listed);
  }

  /** Follows no more settings. */
  stop(): void {
    this.#state = 'stopped';
  }

  /** The directory's list of gateways was read. */
  gatewaysRead(listed: readonly DirectoryGateway[]): void {
    if (this.#state === 'stopped') return;
    const { gateway, gateways, listener, log } = this.#parts;
    this.#listed = listed;
    const before = gateways.own;
    const { address } = listed.find(({ name }) => name === gateway) ?? before;
    const changed = gateways.update(listed, this.#address.follow(address));
    const { own } = gateways;
    if (tells(own, before)) log.info({ settings: own }, 'settings changed');
    if (this.#state !== 'following') return;
    this.#beginDepartures();
    void listener.apply().then(() => {
      this.#beginDepartures();
      this.#conclude(own);
    });
    if (changed.size > 0 || own.group !== before.group) this.#announce(changed);
  }

  /** The devices of an old port stay until there is an address by which they can come to the new one. */
  #beginDepartures(): void {
    const { departures } = this.#parts;
    if (departures.why !== 'port' || this.#address.good) departures.begin();
  }

  /** What cannot be applied is logged once, and tried again at every reading. */
  #conclude(own: OwnGateway): void {
    const { problem } = this;
    if (problem !== this.#loggedProblem && problem !== undefined) {
      this.#parts.log.error({ problem, revision: own.revision }, 'settings not applied');
    }
    this.#loggedProblem = problem;
    if (problem === undefined && this.#address.good && own === this.#parts.gateways.own) {
      this.#applied = own.revision;
    }
  }

  /** One after another, so that a device is not told of an older list after a newer one. */
  #announce(changed: ReadonlySet<Scope>): void {
    const { connections, gateways, departures, log } = this.#parts;
    this.#work = this.#work
      .then(async () => {
        departures.beginScope(await announce(connections, gateways, changed));
        gateways.keepOnly(new Set([...connections.sessions.values()].map(({ state }) => state.scope)));
      })
      .catch((error: unknown) => log.error({ err: error }, 'settings not followed'));
  }
}

function tells(own: OwnGateway, before: OwnGateway): boolean {
  const keys = ['group', 'runPushServer', 'port', 'address', 'connectionLimit', 'draining'] as const;
  return keys.some((key) => own[key] !== before[key]);
}
