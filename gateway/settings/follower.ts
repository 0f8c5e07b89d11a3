/** Applies the gateways' settings: where to listen, which sessions to update, which to send away. */
import type { Logger } from 'pino';
import type { DirectoryGateway, ServedAddress } from '../../bus/bus.ts';
import { type Edition, NO_EDITION, type SignedServerKeys } from '../../protocol/index.ts';
import type { Draining } from '../drain/draining.ts';
import { AddressCheck } from '../listen/address-check.ts';
import type { Listener } from '../listen/listener.ts';
import type { CarriedKeys } from '../lists/carried-keys.ts';
import type { CarriedLists } from '../lists/carried-lists.ts';
import type { GatewayList, OwnGateway, Scope } from '../lists/gateway-list.ts';
import type { Connections } from '../sessions/connections.ts';
import { announce, sendToAll } from './announce.ts';

export interface SettingsFollowerParts {
  gateway: string;
  connections: Connections;
  gateways: GatewayList;
  carriedKeys: CarriedKeys;
  carriedLists: CarriedLists;
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
  #mark: string | null = null;
  #applied = 0;
  /** The worker's address for devices: the configured one, once it listens accordingly. */
  #serves: ServedAddress | undefined;
  /** Where the lists of its devices lead: the told address, once they were sent the list that has it. */
  #leads: ServedAddress | null = null;
  /** Former addresses since it started, by port. */
  readonly #before = new Map<number, string>();
  #loggedProblem: string | undefined;
  #work: Promise<void> = Promise.resolve();
  #keys: Promise<void> = Promise.resolve();
  #keysApplied: Edition = NO_EDITION;

  constructor(parts: SettingsFollowerParts) {
    this.#parts = parts;
    this.#address = new AddressCheck(() => this.gatewaysRead(this.#listed, this.#mark));
  }

  /** Revision of the fully applied settings; 0 for the initial ones. */
  get applied(): number {
    return this.#applied;
  }

  /** Edition of the server keys that all devices were sent. */
  get keysApplied(): Edition {
    return this.#keysApplied;
  }

  /** Why the settings cannot be applied. */
  get problem(): string | undefined {
    return this.refused ?? this.#parts.listener.problem ?? this.#address.problem;
  }

  /**
   * Why this gateway is not registered, if the administration server says so: then no device learns of it.
   */
  get refused(): string | undefined {
    return this.#parts.gateways.own.refused;
  }

  /** Starts following the settings. Rejects with `PortUnavailable`. */
  async start(): Promise<void> {
    this.#state = 'following';
    await this.#parts.listener.start();
    this.gatewaysRead(this.#listed, this.#mark);
  }

  /** Stops following the settings. */
  stop(): void {
    this.#state = 'stopped';
  }

  /** The directory's gateways were read, and which signed lists there are. */
  gatewaysRead(listed: readonly DirectoryGateway[], mark: string | null): void {
    if (this.#state === 'stopped') return;
    const { gateway, gateways, listener, log } = this.#parts;
    this.#listed = listed;
    this.#mark = mark;
    this.#keysRead(keysOf(listed, gateway));
    const before = gateways.own;
    const { address } = listed.find(({ name }) => name === gateway) ?? before;
    this.#address.follow(address);
    const changed = gateways.update(listed, this.#serves);
    const { own } = gateways;
    if (tells(own, before)) log.info({ settings: own }, 'settings changed');
    if (this.#state !== 'following') return;
    void listener.apply().then(() => {
      this.look();
      this.#conclude(own);
    });
    this.#announce(changed, { again: own.group !== before.group, leads: own.told });
  }

  /** K-5. One after another, so that no device gets an older document after a newer one. */
  #keysRead(documents: readonly SignedServerKeys[]): void {
    const { connections, carriedKeys, log } = this.#parts;
    this.#keys = this.#keys
      .then(async () => {
        const before = carriedKeys.edition;
        if (!(await carriedKeys.take(documents))) return;
        const { edition } = carriedKeys;
        await sendToAll(connections, carriedKeys.after(before));
        this.#keysApplied = edition;
        log.info({ edition }, 'carrying newer server keys');
      })
      .catch((error: unknown) => log.error({ err: error }, 'following the server keys failed'));
  }

  /** Call it now and then: a full worker applies its settings only later. */
  look(): void {
    const { server, gateways, draining } = this.#parts;
    const { own } = gateways;
    if (this.#state !== 'following' || !server.listening || server.port !== own.port) return;
    // The devices of an old port stay until there is an address for the new one.
    if (!this.#address.good && (this.#serves || own.told)) return;
    const serves = this.#serves;
    if (serves?.port === own.port && serves.address === own.address) return;
    if (serves) this.#before.set(serves.port, serves.address);
    this.#serves = { port: own.port, address: own.address };
    const changed = gateways.update(this.#listed, this.#serves);
    this.#announce(changed, { again: false });
    draining.begin();
    this.#conclude(own);
  }

  /**
   * Former ports that devices may still use. The directory says for how long; until it knows the current
   * address of this worker, it does not know the previous port either.
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
   * Whether devices on this port must connect to another. Not if the address stayed the same: then a proxy in
   * front of the gateway uses the old port until it is reconfigured. And not before their lists have the new
   * address.
   */
  mustLeavePort(port: number): boolean {
    const serves = this.#serves;
    const leads = this.#leads;
    if (!serves || port === 0 || port === serves.port || port === this.#parts.server.port) return false;
    if (leads?.port !== serves.port || leads.address !== serves.address) return false;
    const { former } = this.#parts.gateways.own;
    const then = this.#before.get(port) ?? former.find((each) => each.port === port)?.address;
    return then !== serves.address;
  }

  /** Whether a device of this group that came by this port finds the new address in its list. */
  movedFrom(port: number, group: string): boolean {
    const serves = this.#serves;
    return (
      serves !== undefined &&
      this.mustLeavePort(port) &&
      this.#parts.carriedLists.leadsTo(group, serves.address)
    );
  }

  /** Settings that cannot be applied are logged once and tried again at every read. */
  #conclude(own: OwnGateway): void {
    const { problem } = this;
    if (problem !== this.#loggedProblem && problem !== undefined) {
      const what =
        this.refused === undefined ? 'cannot apply the settings' : 'this gateway is not registered';
      this.#parts.log.error({ problem, revision: own.revision }, what);
    }
    this.#loggedProblem = problem;
    const serves = this.#serves;
    const inForce = !own.runPushServer || (serves?.port === own.port && serves.address === own.address);
    if (problem === undefined && this.#address.good && inForce && own === this.#parts.gateways.own) {
      this.#applied = own.revision;
    }
  }

  /**
   * One after another, so that no device gets older news after newer. Devices are sent away once they know
   * where the others are. `again`: also when nothing is news to them; `leads`: what gateways are told now.
   */
  #announce(scopes: ReadonlySet<Scope>, { again, leads }: Announcement): void {
    const { connections, gateways, carriedLists, draining, log } = this.#parts;
    const mark = this.#mark;
    this.#work = this.#work
      .then(async () => {
        await this.#keys;
        const used = () => new Set([...connections.sessions.values()].map(({ state }) => state.scope));
        const groups = () => new Set([...used()].map(({ group }) => group));
        const lists = await carriedLists.refresh(mark, groups);
        if (scopes.size > 0 || lists.size > 0 || again) {
          draining.beginScope(await announce(this.#parts, { scopes, lists }));
          gateways.keepOnly(used());
        }
        if (leads !== undefined) this.#leads = leads;
      })
      .catch((error: unknown) => log.error({ err: error }, 'following the settings failed'))
      .then(() => draining.begin());
  }
}

interface Announcement {
  again: boolean;
  leads?: ServedAddress | null;
}

/** From its own entry, or from any other: all entries carry the same. */
function keysOf(listed: readonly DirectoryGateway[], name: string): readonly SignedServerKeys[] {
  const own = listed.find((gateway) => gateway.name === name);
  return own?.keys ?? listed.find(({ keys }) => keys !== undefined)?.keys ?? [];
}

function tells(own: OwnGateway, before: OwnGateway): boolean {
  const keys = ['group', 'runPushServer', 'port', 'address', 'connectionLimit', 'draining'] as const;
  return keys.some((key) => own[key] !== before[key]);
}
