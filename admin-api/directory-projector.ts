import { isDeepStrictEqual } from 'node:util';
import { nanoid } from 'nanoid';
import type { Logger } from 'pino';
import {
  type Bus,
  BusUnavailable,
  type DirectoryDevice,
  type DirectoryGateway,
  type Lease,
} from '../bus/bus.ts';
import { canaryOf } from '../bus/canary.ts';
import { encodeGatewayMessage } from '../protocol/index.ts';
import { type FleetGateway, fleetOf } from './balance/fleet.ts';
import { gatewayWeight } from './balance/weights.ts';
import type { OrderSigner } from './order-signer.ts';
import type { Device } from './store/records.ts';
import type { Store } from './store/store.ts';

type DeviceWithPath = Device & { groupPath: string };

const CHUNK = 1000;
const EPOCH = 'directory-epoch';

/** Ids of the groups on a path, root first: `all/emea/` gives `all`, `emea`. */
export function groupsOnPath(path: string): string[] {
  return path.split('/').filter((id) => id !== '');
}

/** The workers that hold a lease; `known` once they were read. */
export interface LeaseList {
  readonly known: boolean;
  list(): readonly Lease[];
}

/**
 * Projects what gateways must know from SQL into the bus's directory: wholly at every start and whenever the directory
 * is lost, and row by row as things change. Gateways are compared every second, for their weights change with their load. What could not be written is written again until it is; a row that
 * is stale all the same (a crash between SQL and the bus) is mended when its device connects.
 */
export class DirectoryProjector {
  readonly #store: Store;
  readonly #bus: Bus;
  readonly #signer: OrderSigner;
  readonly #leases: LeaseList;
  readonly #log: Logger;
  #weights: ReadonlyMap<string, number> = new Map();
  /** Canaries as they were written, by id: incarnation and group. */
  #canaries: ReadonlyMap<string, string> = new Map();
  readonly #pendingDevices = new Set<string>();
  #gatewaysPending = false;
  /** Everything was written since the start. */
  #whole = false;
  #timer: NodeJS.Timeout | undefined;
  #work: Promise<void> | undefined;
  #lastWrite: Promise<void> = Promise.resolve();
  /** Devices of the write that follows the one under way. */
  #nextWrite: { ids: Set<string>; written: Promise<void> } | undefined;
  #stopping = false;
  #rounds = 0;

  constructor(parts: { store: Store; bus: Bus; signer: OrderSigner; leases: LeaseList; log: Logger }) {
    this.#store = parts.store;
    this.#bus = parts.bus;
    this.#signer = parts.signer;
    this.#leases = parts.leases;
    this.#log = parts.log;
  }

  /** Rounds that came to an end. */
  get rounds(): number {
    return this.#rounds;
  }

  /** A bus that fails meanwhile does not keep the server from starting: the rest is written once it is back. */
  async start(): Promise<void> {
    try {
      await this.#projectAll();
    } catch (error) {
      if (!(error instanceof BusUnavailable)) throw error;
      this.#log.warn({ err: error }, 'the directory could not be written; trying again');
    }
    this.#timer = setInterval(() => this.#kick(), 1000);
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    clearInterval(this.#timer);
    await this.#work;
  }

  /** The signed membership of a device (S-7). */
  membershipFor(device: { id: string; groupPath: string; membershipRevision: number }): {
    body: Uint8Array;
    sig: Uint8Array;
  } {
    return this.#signer.sign({
      kind: 'membership',
      target: { device: device.id },
      groups: groupsOnPath(device.groupPath),
      revision: device.membershipRevision,
      issuedAt: Date.now(),
    });
  }

  membershipFrame(device: { id: string; groupPath: string; membershipRevision: number }): Uint8Array {
    return encodeGatewayMessage({ t: 'order', ...this.membershipFor(device) });
  }

  /** Writes these devices as they stand in SQL, or removes them where SQL no longer has them. */
  async devicesChanged(ids: readonly string[]): Promise<void> {
    await this.#writeDevices(ids);
  }

  /** The same without waiting: it is repeated until it is done. */
  devicesChangedSoon(ids: readonly string[]): void {
    for (const id of ids) this.#pendingDevices.add(id);
    this.#kick();
  }

  /** The weight the directory has for a gateway; `undefined` while it has none. */
  weightOf(gateway: string): number | undefined {
    return this.#weights.get(gateway);
  }

  gatewaysChangedSoon(): void {
    this.#gatewaysPending = true;
    this.#kick();
  }

  #kick(): void {
    if (this.#work || this.#stopping) return;
    this.#work = this.#catchUp()
      .catch((error) => this.#log.warn({ err: error }, 'the directory could not be written; trying again'))
      .finally(() => {
        this.#work = undefined;
        this.#rounds++;
      });
  }

  async #catchUp(): Promise<void> {
    const epoch = await this.#bus.directory.epoch();
    if (epoch === null || !this.#whole) await this.#projectAll();
    while (this.#pendingDevices.size > 0 && !this.#stopping) {
      const ids: string[] = [];
      for (const id of this.#pendingDevices) {
        if (ids.push(id) === CHUNK) break;
      }
      await this.#writeDevices(ids);
    }
    do {
      this.#gatewaysPending = false;
      await this.#writeGateways();
    } while (this.#gatewaysPending && !this.#stopping);
  }

  async #projectAll(): Promise<void> {
    this.#canaries = new Map();
    const startedAt = Date.now();
    let after = '';
    let count = 0;
    for (;;) {
      const devices = await this.#store.devices.scan(after, CHUNK);
      if (devices.length === 0 || this.#stopping) break;
      await this.#bus.directory.putDevices(devices.map((device) => this.#entry(device)));
      after = devices[devices.length - 1]?.id ?? after;
      count += devices.length;
    }
    if (this.#stopping) return;
    await this.#writeGateways();
    await this.#bus.directory.setEpoch(await this.#store.meta.setOnce(EPOCH, nanoid()));
    this.#whole = true;
    this.#log.info({ devices: count, durationMs: Date.now() - startedAt }, 'directory written');
  }

  /**
   * One write at a time: a row read earlier must never be written over one read later. Who asks while one is under way goes
   * along with the next.
   */
  #writeDevices(ids: readonly string[]): Promise<void> {
    let next = this.#nextWrite;
    if (!next || next.ids.size >= CHUNK) {
      const gathered = new Set<string>();
      const written = this.#lastWrite.then(() => this.#writeGathered(gathered));
      this.#lastWrite = written.catch(() => {});
      next = { ids: gathered, written };
      this.#nextWrite = next;
    }
    for (const id of ids) next.ids.add(id);
    return next.written;
  }

  async #writeGathered(gathered: Set<string>): Promise<void> {
    if (this.#nextWrite?.ids === gathered) this.#nextWrite = undefined;
    for (const id of gathered) this.#pendingDevices.delete(id);
    try {
      await this.#copyDevices([...gathered]);
    } catch (error) {
      for (const id of gathered) this.#pendingDevices.add(id);
      throw error;
    }
  }

  async #copyDevices(ids: string[]): Promise<void> {
    const devices = await this.#store.devices.withPaths(ids);
    const found = new Set(devices.map((device) => device.id));
    if (devices.length > 0)
      await this.#bus.directory.putDevices(devices.map((device) => this.#entry(device)));
    const missing = ids.filter((id) => !found.has(id));
    if (missing.length > 0) await this.#bus.directory.removeDevices(missing);
  }

  /** Writes those that differ from what the directory holds: what an older row overwrote is mended with the next look. */
  async #writeGateways(): Promise<void> {
    const written = new Map((await this.#bus.directory.gateways()).map((entry) => [entry.name, entry]));
    const fleet = fleetOf(await this.#store.gateways.all(), this.#leases.list());
    await this.#writeCanaries(fleet);
    const entries = fleet.map((gateway) => this.#gatewayEntry(gateway, written.get(gateway.name)));
    const changed = entries.filter((entry) => !isDeepStrictEqual(entry, written.get(entry.name)));
    if (changed.length > 0) await this.#bus.directory.putGateways(changed);
    this.#weights = new Map(entries.map(({ name, weight }) => [name, weight]));
    for (const { name } of entries) written.delete(name);
    for (const name of written.keys()) await this.#bus.directory.removeGateway(name);
  }

  /** What lets the canaries of live workers in. Leases are known by now, or nothing changes. */
  async #writeCanaries(fleet: readonly FleetGateway[]): Promise<void> {
    if (!this.#leases.known) return;
    const canaries = new Map<string, string>();
    const entries: DirectoryDevice[] = [];
    for (const { groupId, workers } of fleet) {
      for (const { incarnation, identity } of workers) {
        if (!identity.canaryKey) continue;
        const id = canaryOf(identity.worker);
        const written = `${incarnation} ${groupId}`;
        canaries.set(id, written);
        if (this.#canaries.get(id) === written) continue;
        const membershipRevision = 1;
        const membership = this.membershipFrame({ id, groupPath: groupId, membershipRevision });
        const key = identity.canaryKey;
        entries.push({
          id,
          publicKey: key,
          blocked: false,
          groups: [groupId],
          membership,
          membershipRevision,
        });
      }
    }
    const gone = [...this.#canaries.keys()].filter((id) => !canaries.has(id));
    if (entries.length > 0) await this.#bus.directory.putDevices(entries);
    if (gone.length > 0) await this.#bus.directory.removeDevices(gone);
    this.#canaries = canaries;
  }

  #gatewayEntry(gateway: FleetGateway, written: DirectoryGateway | undefined): DirectoryGateway {
    const before = written?.connectionLimit === gateway.connectionLimit ? written.weight : undefined;
    return {
      name: gateway.name,
      group: gateway.groupId,
      runPushServer: gateway.runPushServer,
      port: gateway.port,
      address: gateway.address,
      connectionLimit: gateway.connectionLimit,
      revision: gateway.revision,
      draining: gateway.drainingSince !== null,
      // Before the leases were read nothing is known against the weight that was.
      weight: this.#leases.known
        ? gatewayWeight(gateway, before)
        : (before ?? (gateway.runPushServer && gateway.drainingSince === null ? gateway.connectionLimit : 0)),
    };
  }

  #entry(device: DeviceWithPath): DirectoryDevice {
    return {
      id: device.id,
      publicKey: device.publicKey,
      blocked: device.blockedAt !== null,
      groups: groupsOnPath(device.groupPath),
      membership: this.membershipFrame(device),
      membershipRevision: device.membershipRevision,
    };
  }
}
