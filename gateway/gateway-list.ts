/**
 * The gateways as the directory has them, seen from a device's groups. Devices in the same groups share one `Scope`, so
 * its list is chosen and encoded once.
 */
import { type DirectoryGateway, type GatewaySettings, toGatewayAddress } from '../bus/bus.ts';
import {
  encodeGatewayMessage,
  encodeValue,
  type GatewayAddress,
  LIMITS,
  type RedirectReason,
} from '../protocol/index.ts';

/** The groups of a device, root first, and the gateways it may therefore use. */
export interface Scope {
  readonly groups: readonly string[];
  /** This gateway first, then by name; only those that run their push server. */
  gateways: GatewayAddress[];
  /** `gateways` in MessagePack. */
  encodedGateways: Uint8Array;
}

export class GatewayList {
  readonly #name: string;
  #own: GatewaySettings;
  #revision = 0;
  #gateways: DirectoryGateway[] = [];
  #scopes = new Map<string, Scope>();

  constructor(name: string, initial: GatewaySettings) {
    this.#name = name;
    this.#own = initial;
    this.update([]);
  }

  /** This gateway's settings: the operators', or those it was started with while the directory has none. */
  get own(): GatewaySettings {
    return this.#own;
  }

  /** Revision of `own`; 0 for those it was started with. */
  get revision(): number {
    return this.#revision;
  }

  /** Takes the directory's list over; returns the scopes whose list of gateways changed. */
  update(listed: readonly DirectoryGateway[]): Set<Scope> {
    const own = listed.find((gateway) => gateway.name === this.#name);
    if (own) {
      this.#own = own;
      this.#revision = own.revision;
    }
    const all = own
      ? [...listed]
      : [...listed, { name: this.#name, revision: 0, draining: false, weight: 1, ...this.#own }];
    all.sort((a, b) => this.#rank(a.name) - this.#rank(b.name) || (a.name < b.name ? -1 : 1));
    this.#gateways = all;
    const changed = new Set<Scope>();
    for (const scope of this.#scopes.values()) {
      const before = JSON.stringify(scope.gateways);
      this.#fill(scope);
      if (JSON.stringify(scope.gateways) !== before) changed.add(scope);
    }
    return changed;
  }

  /** The scope of a device in `groups`; the same object for the same groups. */
  scope(groups: readonly string[]): Scope {
    const key = groups.join('/');
    let scope = this.#scopes.get(key);
    if (!scope) {
      scope = { groups: [...groups], gateways: [], encodedGateways: new Uint8Array() };
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

  /** The gateways of `scope` other than this one: where to send a device away to. */
  others(scope: Scope): GatewayAddress[] {
    return scope.gateways.filter((gateway) => gateway.name !== this.#name);
  }

  #rank(name: string): number {
    return name === this.#name ? 0 : 1;
  }

  #fill(scope: Scope): void {
    scope.gateways = this.#gateways
      .filter((gateway) => gateway.runPushServer && scope.groups.includes(gateway.group))
      .slice(0, LIMITS.gateways)
      .map(toGatewayAddress);
    scope.encodedGateways = encodeValue(scope.gateways);
  }
}

/** `welcome` (H-6) with the scope's list as it was encoded once: it is the last field, so an empty one makes room. */
export function welcomeFrame(scope: Scope, session: number, time: number, heartbeatMs: number): Uint8Array {
  const head = encodeGatewayMessage({ t: 'welcome', session, time, heartbeatMs, gateways: [] });
  const frame = new Uint8Array(head.length - 1 + scope.encodedGateways.length);
  frame.set(head.subarray(0, head.length - 1));
  frame.set(scope.encodedGateways, head.length - 1);
  return frame;
}

export function redirectFrame(to: GatewayAddress[], reason: RedirectReason): Uint8Array {
  return encodeGatewayMessage({ t: 'redirect', to, reason, withinMs: 0 });
}
