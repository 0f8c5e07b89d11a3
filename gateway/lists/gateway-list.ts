/**
 * The gateways as the directory has them, seen from a device's groups. Devices in the same groups share one
 * `Scope`; the order in it is each device's own (bus/ranking.ts), and a list is put together from entries
 * encoded once.
 */
import type { DirectoryGateway, GatewaySettings, ServedAddress } from '../../bus/bus.ts';
import { rankGateways } from '../../bus/ranking.ts';
import { encodeValue, type GatewayAddress, LIMITS } from '../../protocol/index.ts';

/** A gateway that may be named to devices: switched on, and at an address that it listened at. */
export interface ListedGateway {
  readonly name: string;
  readonly weight: number;
  /** It comes last, as it takes nobody; it may again by the time somebody has no other. */
  readonly draining: boolean;
  readonly group: string;
  readonly url: string;
  /** Its name and url in MessagePack. */
  readonly encoded: Uint8Array;
}

/** The groups of a device, root first, and the gateways it may therefore use, by name. */
export interface Scope {
  readonly groups: readonly string[];
  gateways: readonly ListedGateway[];
}

/** What this gateway itself is told to be. */
export type OwnGateway = Pick<
  DirectoryGateway,
  keyof GatewaySettings | 'draining' | 'revision' | 'told' | 'former' | 'refused'
>;

export class GatewayList {
  readonly #name: string;
  #initial: GatewaySettings;
  #own: OwnGateway;
  #gateways: ListedGateway[] = [];
  #scopes = new Map<string, Scope>();
  /** This gateway's group and those above it, as far as devices' groups told. */
  #above = new Set<string>();

  constructor(name: string, initial: GatewaySettings) {
    this.#name = name;
    this.#initial = initial;
    this.#own = beginning(initial);
    this.update([]);
  }

  /**
   * Before anything was read: what this gateway is started with, in place of what the constructor was told.
   */
  begin(initial: GatewaySettings): void {
    this.#initial = initial;
    this.#own = beginning(initial);
    this.update([]);
  }

  /** What this gateway is started with. */
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
   * Takes the directory's list over; returns the scopes whose set of gateways changed, or an address in it.
   * `serves`: where this gateway itself listens now, which the directory may not know yet.
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
        return [listedGateway(gateway, told.address, before.get(gateway.name))];
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
      scope = { groups: [...groups], gateways: [] };
      this.#fill(scope);
      this.#scopes.set(key, scope);
    }
    return scope;
  }

  /** Forgets scopes nobody uses any more. */
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

  /** The same without this gateway: where to send a device away to. */
  elsewhere(scope: Scope, device: string): ListedGateway[] {
    return this.ranked(scope, device).filter(({ name }) => name !== this.#name);
  }

  /**
   * The same with this gateway first, if it is among them: where to send a device that is only to dial anew.
   */
  ownFirst(scope: Scope, device: string): ListedGateway[] {
    const own = scope.gateways.filter(({ name }) => name === this.#name);
    return [...own, ...this.elsewhere(scope, device)].slice(0, LIMITS.gateways);
  }

  /** This gateway alone, where it is now. */
  itself(): ListedGateway[] {
    return this.#gateways.filter(({ name }) => name === this.#name);
  }

  /**
   * Other gateways with room that serve everybody this one serves, as far as its devices' groups told; by
   * name.
   */
  alternatives(): ListedGateway[] {
    return this.#gateways.filter(
      ({ name, group, weight, draining }) =>
        name !== this.#name &&
        weight > 0 &&
        !draining &&
        (group === this.#own.group || this.#above.has(group)),
    );
  }

  /** Whether anything that a device is told changed. */
  #fill(scope: Scope): boolean {
    const end = scope.groups.indexOf(this.#own.group);
    for (const group of scope.groups.slice(0, end + 1)) this.#above.add(group);
    const before = scope.gateways;
    scope.gateways = this.#gateways.filter(({ group }) => scope.groups.includes(group));
    return (
      before.length !== scope.gateways.length ||
      before.some(({ name, url, draining }, i) => {
        const now = scope.gateways[i];
        return now?.name !== name || now.url !== url || now.draining !== draining;
      })
    );
  }
}

function beginning(initial: GatewaySettings): OwnGateway {
  return { ...initial, draining: false, revision: 0, told: null, former: [] };
}

function listedGateway(
  { name, weight, draining, group }: DirectoryGateway,
  url: string,
  before: ListedGateway | undefined,
): ListedGateway {
  const encoded = before?.url === url ? before.encoded : encodeValue({ name, url } satisfies GatewayAddress);
  return { name, weight, draining, group, url, encoded };
}
