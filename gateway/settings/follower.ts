/** What follows from the gateways' settings: where to listen, whom to tell, whom to send away. */
import type { Logger } from 'pino';
import type { DirectoryGateway, ServedAddress } from '../../bus/bus.ts';
import type { Draining } from '../drain/draining.ts';
import { AddressCheck } from '../listen/address-check.ts';
import type { Listener } from '../listen/listener.ts';
import type { GatewayList, OwnGateway, Scope } from '../lists/gateway-list.ts';
import type { Connections } from '../sessions/connections.ts';
import { announce } from './announce.ts';

export interface SettingsFollowerParts {
  gateway: string;
  connections: Connections;
  gateways: GatewayList;
  server: { readonly port: number; readonly listening: boolean; readonly ports: readonly number[] };
  listener: Listener;
  draining: Draining;
  log: Logger;
}

export class SettingsFollower {
  readonly #parts: SettingsFollowerParts;
  readonly #address: AddressCheck;
  #state: 'new' | 'following' | 'stopped' = 'new';
  #listed: readonly DirectoryGateway[] = [];
  #applied = 0;
  /** Where this worker listens, as told to devices: the settings', once it listens as they say. */
  #serves: ServedAddress | undefined;
  /** Where it listened before, since it started: address by port. */
  readonly #before = new Map<number, string>();
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
    return this.refused ?? this.#parts.listener.problem ?? this.#address.problem;
  }

  /**
   * Why this gateway is not registered, if the administration server says so: then no device is told of it.
   */
  get refused(): string | undefined {
    return this.#parts.gateways.own.refused;
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
    this.#address.follow(address);
    const changed = gateways.update(listed, this.#serves);
    const { own } = gateways;
    if (tells(own, before)) log.info({ settings: own }, 'settings changed');
    if (this.#state !== 'following') return;
    this.#parts.draining.begin();
    void listener.apply().then(() => {
      this.look();
      this.#conclude(own);
    });
    if (changed.size > 0 || own.group !== before.group) this.#announce(changed);
  }

  /** To be called now and then: when the worker was full, it listens as its settings say only later. */
  look(): void {
    const { server, gateways, draining } = this.#parts;
    const { own } = gateways;
    if (this.#state !== 'following' || !server.listening || server.port !== own.port) return;
    // The devices of an old port stay until there is an address by which they can come to the new one.
    if (!this.#address.good && (this.#serves || own.told)) return;
    const serves = this.#serves;
    if (serves?.port === own.port && serves.address === own.address) return;
    if (serves) this.#before.set(serves.port, serves.address);
    this.#serves = { port: own.port, address: own.address };
    const changed = gateways.update(this.#listed, this.#serves);
    if (changed.size > 0) this.#announce(changed);
    draining.begin();
    this.#conclude(own);
  }

  /**
   * Former ports on which somebody may still come. The directory knows for how long; until it knows where
   * this worker listens now, it does not know of the port before that either.
   */
  formerPorts(): number[] {
    const { server, gateways } = this.#parts;
    const { told, former } = gateways.own;
    const unknown = told?.port === server.port ? [] : server.ports;
    return [...new Set([...former.map(({ port }) => port), ...unknown])].filter(
      (port) => port !== server.port,
    );
  }

  /**
   * Whether who came by this port is to come by another. Not where the address stayed the same: then
   * something stands in front of the gateway that brings devices to the old port until it is told of the new
   * one.
   */
  moved(port: number): boolean {
    const serves = this.#serves;
    if (!serves || port === 0 || port === serves.port || port === this.#parts.server.port) return false;
    const { former } = this.#parts.gateways.own;
    const then = this.#before.get(port) ?? former.find((each) => each.port === port)?.address;
    return then !== serves.address;
  }

  /** What cannot be applied is logged once, and tried again at every reading. */
  #conclude(own: OwnGateway): void {
    const { problem } = this;
    if (problem !== this.#loggedProblem && problem !== undefined) {
      const what = this.refused === undefined ? 'settings not applied' : 'this gateway is not registered';
      this.#parts.log.error({ problem, revision: own.revision }, what);
    }
    this.#loggedProblem = problem;
    const serves = this.#serves;
    const inForce = !own.runPushServer || (serves?.port === own.port && serves.address === own.address);
    if (problem === undefined && this.#address.good && inForce && own === this.#parts.gateways.own) {
      this.#applied = own.revision;
    }
  }

  /** One after another, so that a device is not told of an older list after a newer one. */
  #announce(changed: ReadonlySet<Scope>): void {
    const { connections, gateways, draining, log } = this.#parts;
    this.#work = this.#work
      .then(async () => {
        draining.beginScope(await announce(connections, gateways, changed));
        gateways.keepOnly(new Set([...connections.sessions.values()].map(({ state }) => state.scope)));
      })
      .catch((error: unknown) => log.error({ err: error }, 'settings not followed'));
  }
}

function tells(own: OwnGateway, before: OwnGateway): boolean {
  const keys = ['group', 'runPushServer', 'port', 'address', 'connectionLimit', 'draining'] as const;
  return keys.some((key) => own[key] !== before[key]);
}
