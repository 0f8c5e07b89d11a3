import type { Lease } from '../../bus/bus.ts';
import { type FleetGateway, fleetGateway } from '../balance/fleet.ts';
import type { ToldAddress } from '../directory/gateway-addresses.ts';
import { asGateway, type Unregistered, unregistered } from '../directory/unregistered.ts';
import { Problem } from '../problems.ts';
import { type Gateway, type Page, type PageRequest, ROOT_GROUP } from '../store/records.ts';
import { type Expected, recordChange, type ServiceParts } from './service-parts.ts';

export const DEFAULT_PUSH_PORT = 13_295;
export const DEFAULT_CONNECTION_LIMIT = 50_000;

/** How far a gateway's clock may be behind. */
const CLOCKS_APART_MS = 5_000;

export interface GatewayRequest {
  name: string;
  address: string;
  groupId?: string;
  runPushServer?: boolean;
  port?: number;
  connectionLimit?: number;
}

export type GatewaySettingsChange = Partial<Omit<GatewayRequest, 'name'>>;

/** A gateway's settings with the current reports of its workers. */
export interface GatewayView extends FleetGateway {
  connectedOnRecord: number;
  /** While it is drained: devices that it sent away and that are not connected elsewhere yet. */
  onTheWay?: number;
  /** The address that devices get, and former ones; absent if no worker ever listened. */
  told?: ToldAddress;
}

/**
 * Operators' settings of gateways, and the gateways' state. Every method that changes something throws
 * `Problem`.
 */
export class GatewayService {
  readonly #parts: ServiceParts;

  constructor(parts: ServiceParts) {
    this.#parts = parts;
  }

  async create(request: GatewayRequest, actor: string): Promise<GatewayView> {
    const { store, now, hub, directory } = this.#parts;
    const at = now();
    const gateway: Gateway = {
      name: request.name,
      groupId: request.groupId ?? ROOT_GROUP,
      runPushServer: request.runPushServer ?? true,
      port: request.port ?? DEFAULT_PUSH_PORT,
      address: gatewayAddress(request.address),
      connectionLimit: request.connectionLimit ?? DEFAULT_CONNECTION_LIMIT,
      revision: 1,
      drainingSince: null,
      drainedAt: null,
      createdAt: at,
      updatedAt: at,
    };
    await store.transaction(async (tx) => {
      if (!(await tx.gateways.create(gateway))) {
        throw new Problem('conflict', `There is a gateway ${gateway.name} already.`);
      }
      const { name, groupId, runPushServer, port, address, connectionLimit } = gateway;
      const detail = { groupId, runPushServer, port, address, connectionLimit };
      await recordChange(tx, at, actor, 'gateway.created', name, detail, { name });
    });
    hub.notify();
    directory.gatewaysChangedSoon();
    return this.#view(gateway, {});
  }

  async update(
    name: string,
    change: GatewaySettingsChange,
    actor: string,
    expected?: Expected<Gateway>,
  ): Promise<GatewayView> {
    const { store, now, hub, directory } = this.#parts;
    const wanted = { ...change };
    if (wanted.address !== undefined) wanted.address = gatewayAddress(wanted.address);
    const gateway = await store.transaction(async (tx) => {
      const at = now();
      const before = await tx.gateways.getForChange(name);
      if (!before) throw unknownGateway(name);
      expected?.(before);
      const moved = wanted.address === undefined && wanted.port !== undefined ? wanted.port : before.port;
      if (moved !== before.port) wanted.address = addressOnPort(before.address, before.port, moved);
      const updated = await tx.gateways.update(name, wanted, at);
      if (!updated) throw unknownGateway(name);
      await recordChange(tx, at, actor, 'gateway.updated', name, { ...wanted }, { name });
      return updated;
    });
    hub.notify();
    directory.gatewaysChangedSoon();
    return this.#view(gateway, await store.devices.connectedByGateway());
  }

  /**
   * Refuses new devices and sends the gateway's devices away, until the drain is cancelled. Repeating it
   * changes nothing.
   */
  async drain(name: string, actor: string, expected?: Expected<Gateway>): Promise<GatewayView> {
    return this.#setDraining(name, true, actor, expected);
  }

  async cancelDrain(name: string, actor: string, expected?: Expected<Gateway>): Promise<GatewayView> {
    return this.#setDraining(name, false, actor, expected);
  }

  /** The gateway stops listening on its former ports; devices that know only those must ask where to go. */
  async releaseFormerPorts(name: string, actor: string, expected?: Expected<Gateway>): Promise<GatewayView> {
    const { store, now, directory } = this.#parts;
    const { told } = await this.view(name);
    const detail = { ports: told?.former.map(({ port }) => port) ?? [] };
    await store.transaction(async (tx) => {
      const before = await tx.gateways.getForChange(name);
      if (before) expected?.(before);
      await recordChange(tx, now(), actor, 'gateway.former-ports-released', name, detail);
    });
    await directory.forgetFormerPorts(name);
    return this.view(name);
  }

  async #setDraining(
    name: string,
    draining: boolean,
    actor: string,
    expected?: Expected<Gateway>,
  ): Promise<GatewayView> {
    const { store, now, hub, directory } = this.#parts;
    const gateway = await store.transaction(async (tx) => {
      const at = now();
      const before = await tx.gateways.getForChange(name);
      if (!before) throw unknownGateway(name);
      expected?.(before);
      const changed = await tx.gateways.setDraining(name, draining ? at : null, at);
      const action = draining ? 'gateway.draining' : 'gateway.drain-canceled';
      if (changed) await recordChange(tx, at, actor, action, name, {}, { name });
      return changed ?? before;
    });
    hub.notify();
    directory.gatewaysChangedSoon();
    return this.#view(gateway, await store.devices.connectedByGateway());
  }

  /** Refused while its workers are alive, because they would register it again at once. */
  async delete(name: string, actor: string, expected?: Expected<Gateway>): Promise<void> {
    const { store, now, hub, directory } = this.#parts;
    await store.transaction(async (tx) => {
      const before = await tx.gateways.getForChange(name);
      if (!before) throw unknownGateway(name);
      expected?.(before);
      if (this.#workersOf(name).length > 0) {
        throw new Problem('conflict', `Gateway ${name} is running; stop it before deleting it.`);
      }
      await tx.gateways.delete(name);
      await recordChange(tx, now(), actor, 'gateway.deleted', name, {}, { name });
    });
    hub.notify();
    directory.gatewaysChangedSoon();
  }

  async view(name: string): Promise<GatewayView> {
    const { store } = this.#parts;
    const gateway = await store.gateways.get(name);
    if (gateway) return this.#view(gateway, await store.devices.connectedByGateway());
    const [refused] = await unregistered(store, this.#workersOf(name), new Set());
    if (!refused) throw unknownGateway(name);
    return this.#refusedView(refused);
  }

  async views(page: PageRequest): Promise<Page<GatewayView>> {
    const { store } = this.#parts;
    const [{ items, next }, connected] = await Promise.all([
      store.gateways.list(page),
      store.devices.connectedByGateway(),
    ]);
    const views = await Promise.all(items.map((gateway) => this.#view(gateway, connected)));
    if (next !== null) return { items: views, next };
    const { leases } = this.#parts;
    const names = new Set((await store.gateways.all()).map(({ name }) => name));
    const refused = await unregistered(store, leases.list(), names);
    return { items: [...views, ...refused.map((each) => this.#refusedView(each))], next };
  }

  #workersOf(name: string): Lease[] {
    return this.#parts.leases.list().filter((lease) => lease.identity.gateway === name);
  }

  /** A gateway that runs and is not registered. */
  #refusedView(refused: Unregistered): GatewayView {
    const view = fleetGateway(asGateway(refused, this.#parts.now()), this.#workersOf(refused.name));
    return { ...view, state: 'problem', problem: refused.why, applied: false, connectedOnRecord: 0 };
  }

  #fleetView(gateway: Gateway): FleetGateway {
    const { name } = gateway;
    const view = fleetGateway(gateway, this.#workersOf(name));
    if (!this.#parts.leases.isRevoked(name)) return view;
    return { ...view, problem: 'its certificates were revoked: it must join again with a token or approval' };
  }

  async #view(gateway: Gateway, connected: Record<string, number>): Promise<GatewayView> {
    const { directory, store } = this.#parts;
    const { name, drainingSince } = gateway;
    const view = this.#fleetView(gateway);
    const connectedOnRecord = connected[name] ?? 0;
    const told = directory.toldOf(name);
    if (drainingSince === null) return { ...view, connectedOnRecord, ...(told && { told }) };
    const gone = await store.devices.sentAwayFrom(name, drainingSince - CLOCKS_APART_MS);
    // The ledger does not know yet of devices that have just left.
    const leaving = Math.max(0, connectedOnRecord - view.connections);
    return { ...view, connectedOnRecord, onTheWay: leaving + gone, ...(told && { told }) };
  }
}

function unknownGateway(name: string): Problem {
  return new Problem('not-found', `There is no gateway ${name}.`);
}

/**
 * The address with the new port, if its port was the push server's; an address with another port (a proxy's)
 * stays.
 */
export function addressOnPort(address: string, before: number, after: number): string {
  const [, scheme = '', host = '', port = scheme === 'wss' ? '443' : '80'] =
    /^(wss?):\/\/(.+?)(?::(\d+))?$/i.exec(address) ?? [];
  return Number(port) === before ? `${scheme}://${host}:${after}` : address;
}

/** The URL that devices dial: `ws` or `wss` with host and port only. Throws `Problem`. */
export function gatewayAddress(address: string): string {
  let url: URL;
  try {
    url = new URL(address);
  } catch {
    throw new Problem('bad-request', `address: "${address}" is not a URL.`);
  }
  if (url.protocol !== 'ws:' && url.protocol !== 'wss:') {
    throw new Problem('bad-request', 'address: a URL that begins with ws:// or wss://.');
  }
  // The parser adds or drops some of these, so the text itself is checked.
  const plain = /^wss?:\/\/[^/?#@\s]+\/?$/i.test(address) && url.username === '' && url.password === '';
  if (!plain || url.hostname === '') {
    throw new Problem('bad-request', 'address: host and port only, without path, query or credentials.');
  }
  return address.replace(/\/$/, '');
}
