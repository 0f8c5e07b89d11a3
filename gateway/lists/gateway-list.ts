/**
 * The gateways of the directory that serve a device's groups. Devices in the same groups share one `Scope`.
 * Each device has its own order (bus/ranking.ts); messages are assembled from names that are encoded once.
 * Where they are, devices know from their signed list (carried-lists.ts).
 */
import type { DirectoryGateway, GatewaySettings, ServedAddress } from '../../bus/bus.ts';
import { rankGateways } from '../../bus/ranking.ts';
import { encodeValue, LIMITS } from '../../protocol/index.ts';

/** A gateway that devices may get: switched on, with an address where it has listened. */
export interface ListedGateway {
  readonly name: string;
  readonly weight: number;
  /** It comes last because it accepts no devices now; it may accept some later. */
  readonly draining: boolean;
  readonly group: string;
  /** Its name in MessagePack. */
  readonly encoded: Uint8Array;
}

/** The groups of a device, root first, and the gateways it may therefore use, by name. */
export interface Scope {
  readonly groups: readonly string[];
  /** The last of them: the device's own, whose signed list it gets. */
  readonly group: string;
  gateways: readonly ListedGateway[];
}

/** Settings of this gateway itself. */
export type OwnGateway = Pick<
  DirectoryGateway,
  keyof GatewaySettings | 'draining' | 'revision' | 'told' | 'former' | 'refused' | 'pass'
>;

export class GatewayList {
  readonly #name: string;
  #initial: GatewaySettings;
  #own: OwnGateway;
  #gateways: ListedGateway[] = [];
  #scopes = new Map<string, Scope>();
  /** This gateway's group and its ancestors, as far as known from devices' groups. */
  #above = new Set<string>();

  constructor(name: string, initial: GatewaySettings) {
    this.#name = name;
    this.#initial = initial;
    this.#own = beginning(initial);
    this.update([]);
  }

  /** Before the first read: replaces the initial settings that the constructor got. */
  begin(initial: GatewaySettings): void {
    this.#initial = initial;
    this.#own = beginning(initial);
    this.update([]);
  }

  /** The settings that this gateway is started with. */
  get initial(): GatewaySettings {
    return this.#initial;
  }

  /**
   * This gateway's settings: the operators', or those it was started with (revision 0) while the directory
   * has none.
   */
  get own(): OwnGateway {
    return this.#own;
  }

  /**
   * Adopts the directory's list; returns the scopes in which the set of gateways or their order changed.
   * `serves`: the current address of this gateway, which the directory may not know yet.
   */
  update(listed: readonly DirectoryGateway[], serves?: ServedAddress): Set<Scope> {
    const own = listed.find((gateway) => gateway.name === this.#name);
    if (own && own.group !== this.#own.group) this.#above.clear();
    if (own) this.#own = own;
    const weight = this.#own.connectionLimit;
    const all = own ? listed : [...listed, { name: this.#name, weight, ...this.#own }];
    const before = new Map(this.#gateways.map((gateway) => [gateway.name, gateway]));
    this.#gateways = all
      .flatMap((gateway) => {
        const told = (gateway.name === this.#name && serves) || gateway.told;
        if (!gateway.runPushServer || !told || gateway.refused !== undefined) return [];
        return [listedGateway(gateway, before.get(gateway.name))];
      })
      .sort((a, b) => (a.name < b.name ? -1 : 1));
    const changed = new Set<Scope>();
    for (const scope of this.#scopes.values()) if (this.#fill(scope)) changed.add(scope);
    return changed;
  }

  /** The scope of a device in `groups`; the same object for the same groups. */
  scope(groups: readonly string[]): Scope {
    const key = groups.join('/');
    let scope = this.#scopes.get(key);
    if (!scope) {
      scope = { groups: [...groups], group: groups.at(-1) ?? '', gateways: [] };
      this.#fill(scope);
      this.#scopes.set(key, scope);
    }
    return scope;
  }

  /** Forgets unused scopes. */
  keepOnly(used: ReadonlySet<Scope>): void {
    for (const [key, scope] of this.#scopes) if (!used.has(scope)) this.#scopes.delete(key);
  }

  /** Whether this gateway serves devices in these groups. */
  serves(groups: readonly string[]): boolean {
    return groups.includes(this.#own.group);
  }

  /** The gateways of `scope`, the best for this device first. */
  ranked(scope: Scope, device: string): ListedGateway[] {
    return rankGateways(device, scope.gateways).slice(0, LIMITS.gateways);
  }

  /** The same without this gateway: targets for a device that must leave. */
  elsewhere(scope: Scope, device: string): ListedGateway[] {
    return this.ranked(scope, device).filter(({ name }) => name !== this.#name);
  }

  /** The same with this gateway first, if included: targets for a device that only needs to reconnect. */
  ownFirst(scope: Scope, device: string): ListedGateway[] {
    const own = scope.gateways.filter(({ name }) => name === this.#name);
    return [...own, ...this.elsewhere(scope, device)].slice(0, LIMITS.gateways);
  }

  /** This gateway alone. */
  itself(): ListedGateway[] {
    return this.#gateways.filter(({ name }) => name === this.#name);
  }

  /** Other gateways with capacity that serve all groups of this one, as far as known; by name. */
  alternatives(): ListedGateway[] {
    return this.#gateways.filter(
      ({ name, group, weight, draining }) =>
        name !== this.#name &&
        weight > 0 &&
        !draining &&
        (group === this.#own.group || this.#above.has(group)),
    );
  }

  /** Whether anything that devices see changed. */
  #fill(scope: Scope): boolean {
    const end = scope.groups.indexOf(this.#own.group);
    for (const group of scope.groups.slice(0, end + 1)) this.#above.add(group);
    const before = scope.gateways;
    scope.gateways = this.#gateways.filter(({ group }) => scope.groups.includes(group));
    return (
      before.length !== scope.gateways.length ||
      before.some(({ name, draining }, i) => {
        const now = scope.gateways[i];
        return now?.name !== name || now.draining !== draining;
      })
    );
  }
}

function beginning(initial: GatewaySettings): OwnGateway {
  return { ...initial, draining: false, revision: 0, told: null, former: [] };
}

function listedGateway(
  { name, weight, draining, group }: DirectoryGateway,
  before: ListedGateway | undefined,
): ListedGateway {
  return { name, weight, draining, group, encoded: before?.encoded ?? encodeValue(name) };
}
