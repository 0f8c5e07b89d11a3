import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'pino';
import {
  type Bus,
  BusUnavailable,
  type DirectoryDevice,
  type DirectoryGateway,
  DirectoryIncomplete,
  type DirectoryState,
  type Installation,
} from '../../bus/bus.ts';
import { canaryOf } from '../../bus/canary.ts';
import { Dependency } from '../../health/health.ts';
import {
  type Edition,
  encodeGatewayMessage,
  type MembershipOrder,
  type SignedOrder,
  type SignedServerKeys,
  sameDocuments,
} from '../../protocol/index.ts';
import { type FleetGateway, fleetOf } from '../balance/fleet.ts';
import { gatewayWeight } from '../balance/weights.ts';
import { groupsOnPath } from '../group-path.ts';
import type { ServerKeys } from '../keys/server-keys.ts';
import type { LeaseList, Revocations } from '../live-workers.ts';
import type { OrderSigner } from '../order-signer.ts';
import type { DeletedDevice, Store } from '../store/store.ts';
import { GatewayAddresses, served, type ToldAddress } from './gateway-addresses.ts';
import { GatewayLists, type GroupList } from './gateway-lists.ts';
import { GatewayPassWriter } from './gateway-passes.ts';
import { ListsWriter } from './lists-writer.ts';
import { type Unregistered, unregistered } from './unregistered.ts';
import { changed, type DeviceWithPath, writeAll } from './writer.ts';

const CHUNK = 1000;
/** How often it is looked at whether the directory is whole. */
const LOOK_MS = 1_000;
/** For how long after a look it counts as looked after. */
const VOUCH_MS = 15_000;
/** Writings begun in one round: what empties Redis again and again is given time. */
const ATTEMPTS = 5;

/** What a device's membership says. */
export interface MembershipSubject {
  id: string;
  /** Raw Ed25519 public key. */
  publicKey: Uint8Array;
  groupPath: string;
  membershipRevision: number;
  blockedAt: number | null;
}

/** What became of writings of the whole directory. */
export interface DirectoryCounts {
  written: number;
  /** Begun, and lost before the end: Redis was emptied, or somebody else wrote. */
  lost: number;
}

/**
 * Projects what gateways must know from SQL into the bus's directory: wholly at every start and whenever the
 * directory is not whole, and row by row as things change. Every second it looks whether the directory is
 * whole and this installation's, and compares gateways, for their weights change with their load. What could
 * not be written is written again until it is; a row that is stale all the same (a crash between SQL and the
 * bus) is corrected when its device connects.
 */
export class DirectoryProjector {
  readonly #store: Store;
  readonly #bus: Bus;
  readonly #signer: OrderSigner;
  readonly #serverKeys: Pick<ServerKeys, 'documents' | 'fresh'>;
  readonly #epoch: number;
  readonly #leases: LeaseList & Revocations;
  readonly #authority: { changedAt(): Promise<number> };
  #renewAfter = 0;
  readonly #log: Logger;
  readonly #addresses: GatewayAddresses;
  readonly #lists: GatewayLists;
  readonly #listsWriter: ListsWriter;
  readonly #passes: GatewayPassWriter;
  #weights: ReadonlyMap<string, number> = new Map();
  /** Canaries as they were written, by id: incarnation and group. */
  #canaries: ReadonlyMap<string, string> = new Map();
  readonly #pendingDevices = new Set<string>();
  /** Something was asked for during the work under way. */
  #again = false;
  #gatewaysPending = false;
  /** Everything was written since the start. */
  #written = false;
  /** It is to be written once more. */
  #rewrite = false;
  /** The generation that was there at the first look; `undefined` before it. */
  #first: string | null | undefined;
  #state: DirectoryState = { generation: null, devices: 0, writing: false, problem: 'not looked at yet' };
  readonly counts: DirectoryCounts = { written: 0, lost: 0 };
  /** The directory is whole and this installation's. */
  readonly dependency = new Dependency();
  #timer: NodeJS.Timeout | undefined;
  #work: Promise<void> | undefined;
  #lastWrite: Promise<void> = Promise.resolve();
  /** Devices of the write that follows the one under way. */
  #nextWrite: { ids: Set<string>; written: Promise<void> } | undefined;
  #stopping = false;
  #rounds = 0;

  constructor(parts: {
    store: Store;
    bus: Bus;
    serverKeys: Pick<ServerKeys, 'documents' | 'fresh' | 'signer'>;
    installation: Installation;
    leases: LeaseList & Revocations;
    authority: { changedAt(): Promise<number> };
    log: Logger;
  }) {
    this.#store = parts.store;
    this.#bus = parts.bus;
    this.#signer = parts.serverKeys.signer;
    this.#serverKeys = parts.serverKeys;
    this.#epoch = parts.installation.epoch;
    this.#leases = parts.leases;
    this.#authority = parts.authority;
    this.#addresses = new GatewayAddresses(parts.store.meta, Date.now);
    const now = () => parts.bus.clock.now();
    this.#passes = new GatewayPassWriter(this.#signer, now);
    const { log, store, bus } = parts;
    this.#lists = new GatewayLists({
      ...{ meta: store.meta, signer: this.#signer, epoch: this.#epoch },
      ...{ now, log },
    });
    this.#listsWriter = new ListsWriter({
      ...{ groups: store.groups, directory: bus.directory, lists: this.#lists },
      stopping: () => this.#stopping,
    });
    this.#log = log;
  }

  /** Rounds that came to an end. */
  get rounds(): number {
    return this.#rounds;
  }

  /**
   * A bus that fails meanwhile does not keep the server from starting: the rest is written once it is back.
   */
  async start(): Promise<void> {
    try {
      await this.#keepWhole();
    } catch (error) {
      this.#failed(error);
      if (!(error instanceof BusUnavailable || error instanceof DirectoryIncomplete)) throw error;
    }
    this.#timer = setInterval(() => this.#kick(), LOOK_MS);
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    clearInterval(this.#timer);
    await this.#work;
  }

  /** How the directory was at the last look. */
  get state(): DirectoryState {
    return this.#state;
  }

  /** The signed membership of a device (S-7, S-8). */
  membershipFor(device: MembershipSubject): SignedOrder {
    const { id, publicKey, groupPath, blockedAt, membershipRevision: revision } = device;
    const standing =
      blockedAt === null ? { state: 'active' as const, key: publicKey } : { state: 'blocked' as const };
    return this.#sign(id, { ...standing, groups: groupsOnPath(groupPath), revision });
  }

  #sign(device: string, says: Pick<MembershipOrder, 'state' | 'key' | 'groups' | 'revision' | 'to'>) {
    const issuedAt = this.#bus.clock.now();
    return this.#signer.sign({
      ...{ kind: 'membership', target: { device }, epoch: this.#epoch, issuedAt },
      ...says,
    });
  }

  /** What the device compares of its membership. */
  editionOf(device: { membershipRevision: number }): Edition {
    return [this.#epoch, device.membershipRevision];
  }

  membershipFrame(device: MembershipSubject): Uint8Array {
    return encodeGatewayMessage({ t: 'order', ...this.membershipFor(device) });
  }

  /** What tells a device that it was deleted, or moved to another installation. */
  deletionFrame({ id, revision, to }: DeletedDevice): Uint8Array {
    const left = to ? { state: 'moved' as const, to } : { state: 'deleted' as const };
    return encodeGatewayMessage({ t: 'order', ...this.#sign(id, { ...left, groups: [], revision }) });
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

  /** The address that devices are told of a gateway, as last recorded; `undefined` while there is none. */
  toldOf(gateway: string): ToldAddress | undefined {
    return this.#addresses.of(gateway);
  }

  /** The signed list of gateways for devices whose group has this path (G-18); `null` while it has none. */
  async listFor(groupPath: string): Promise<GroupList | null> {
    await this.#followLists(fleetOf(await this.#store.gateways.all(), this.#leases.list()));
    return this.#lists.of(groupPath);
  }

  /** The gateway stops listening at the ports it had before. */
  async forgetFormerPorts(gateway: string): Promise<void> {
    await this.#addresses.forgetFormer(gateway);
    this.gatewaysChangedSoon();
  }

  gatewaysChangedSoon(): void {
    this.#gatewaysPending = true;
    this.#kick();
  }

  /** Writes all of it again, with new signatures, beside what is there; whether it did. */
  async rewrite(): Promise<boolean> {
    this.#rewrite = true;
    this.#kick();
    while (this.#work) await this.#work;
    return !this.#rewrite;
  }

  /** Resolves when what it was writing is written, or failed. */
  async settled(): Promise<void> {
    await this.#lastWrite;
    await this.#work;
  }

  #kick(): void {
    if (this.#stopping) return;
    if (this.#work) {
      this.#again = true;
      return;
    }
    this.#again = false;
    this.#work = this.#catchUp()
      .catch((error) => this.#failed(error))
      .finally(() => {
        this.#work = undefined;
        this.#rounds++;
        // Asked for meanwhile; what failed is tried again with the next look.
        if (this.#again && this.dependency.ok) this.#kick();
      });
  }

  #failed(error: unknown): void {
    this.dependency.bad(error instanceof Error ? error.message : String(error));
    this.#log.warn({ err: error }, 'the directory could not be written; trying again');
  }

  async #catchUp(): Promise<void> {
    await this.#serverKeys.fresh();
    await this.#keepWhole();
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

  /**
   * Looks whether the directory is whole, writes it when it is not, and says to gateways that somebody looks
   * after it.
   */
  async #keepWhole(): Promise<void> {
    await this.#look();
    for (let attempt = 0; attempt < ATTEMPTS && !this.#stopping; attempt++) {
      if (this.#written && this.#state.generation !== null && !this.#rewrite) break;
      if (!(await this.#project())) break;
      await this.#look();
    }
    const { generation } = this.#state;
    if (generation !== null) await this.#bus.directory.vouch(generation, VOUCH_MS);
  }

  async #look(): Promise<void> {
    const state = await this.#bus.directory.look();
    this.#state = state;
    if (this.#first === undefined) this.#first = state.generation;
    // Another server wrote it since: there is no need to do it once more.
    if (state.generation !== null && state.generation !== this.#first) this.#written = true;
    if (state.generation !== null) {
      this.dependency.good();
      return;
    }
    const problem = state.problem ?? 'the directory is not whole';
    if (this.dependency.ok) this.#log.warn({ problem }, 'the directory is not whole: it is written again');
    this.dependency.bad(problem);
  }

  /** `false`: somebody else is at it. */
  async #project(): Promise<boolean> {
    const startedAt = Date.now();
    const rewriting = this.#rewrite;
    const writing = await this.#bus.directory.begin({ clear: this.#state.altered === true });
    if (writing === null) return false;
    this.#canaries = new Map();
    try {
      const generation = await writeAll(
        {
          store: this.#store,
          entry: (device) => this.#entry(device),
          deletion: (device) => this.#deletion(device),
          inTurn: (work) => this.#inTurn(work),
          stale: (ids) => {
            for (const id of ids) this.#pendingDevices.add(id);
          },
          last: () => this.#writeGateways(true),
          stopping: () => this.#stopping,
        },
        writing,
      );
      if (generation === null) return false;
    } catch (error) {
      if (!(error instanceof DirectoryIncomplete)) throw error;
      this.counts.lost++;
      this.#log.warn({ reason: error.message }, 'the directory is written once more');
      return true;
    }
    this.#written = true;
    if (rewriting) this.#rewrite = false;
    this.counts.written++;
    this.#log.info({ durationMs: Date.now() - startedAt }, 'directory written');
    return true;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#lastWrite.then(work);
    this.#lastWrite = done.then(
      () => undefined,
      () => undefined,
    );
    return done;
  }

  /**
   * One write at a time: a row read earlier must never be written over one read later. Who asks while one is
   * under way goes along with the next.
   */
  #writeDevices(ids: readonly string[]): Promise<void> {
    let next = this.#nextWrite;
    if (!next || next.ids.size >= CHUNK) {
      const gathered = new Set<string>();
      const written = this.#inTurn(() => this.#writeGathered(gathered));
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

  /**
   * Until SQL says what was written: another server may have written a newer row before this one wrote the
   * older.
   */
  async #copyDevices(ids: readonly string[]): Promise<void> {
    await this.#serverKeys.fresh();
    let devices = await this.#store.devices.withPaths(ids);
    for (let left = ids; left.length > 0; ) {
      const found = new Set(devices.map((device) => device.id));
      if (devices.length > 0)
        await this.#bus.directory.putDevices(devices.map((device) => this.#entry(device)));
      await this.#copyMissing(left.filter((id) => !found.has(id)));
      const written = devices;
      const now = await this.#store.devices.withPaths(left);
      const came = now.map(({ id }) => id).filter((id) => !found.has(id));
      left = [...changed(written, now), ...came];
      devices = now.filter(({ id }) => left.includes(id));
    }
  }

  /** Those that were deleted are told so when they come; of the others there is nothing to say. */
  async #copyMissing(ids: readonly string[]): Promise<void> {
    if (ids.length === 0) return;
    const deleted = await this.#store.deletedDevices.ofIds(ids);
    if (deleted.length > 0) await this.#bus.directory.putDevices(deleted.map((one) => this.#deletion(one)));
    const known = new Set(deleted.map(({ id }) => id));
    const unknown = ids.filter((id) => !known.has(id));
    if (unknown.length > 0) await this.#bus.directory.removeDevices(unknown);
  }

  #deletion(device: DeletedDevice): DirectoryDevice {
    return {
      id: device.id,
      publicKey: new Uint8Array(),
      state: 'deleted',
      groups: [],
      membership: this.deletionFrame(device),
      membershipEdition: [this.#epoch, device.revision],
    };
  }

  /** What lists say follows from where gateways are. Before leases are known, it stays. */
  async #followLists(fleet: readonly FleetGateway[]): Promise<void> {
    await this.#addresses.follow(fleet);
    if (!this.#leases.known) return this.#lists.read();
    const listed = fleet.filter(({ name, runPushServer }) => runPushServer && !this.#leases.isRevoked(name));
    await this.#lists.follow(
      listed.flatMap(({ name, groupId }) => {
        const url = this.#addresses.of(name)?.address;
        return url === undefined ? [] : [{ name, group: groupId, url }];
      }),
    );
  }

  /**
   * Writes those that differ from what the directory holds: what an older row overwrote is mended with the
   * next look. Lists first: a gateway sends devices to an address once the list has it.
   */
  async #writeGateways(allLists = false): Promise<void> {
    const listed = await this.#listed();
    const written = new Map(listed?.map((entry) => [entry.name, entry]));
    const fleet = fleetOf(await this.#store.gateways.all(), this.#leases.list());
    this.#renewAfter = await this.#authority.changedAt();
    await this.#followLists(fleet);
    await this.#listsWriter.write(allLists);
    await this.#writeCanaries(fleet);
    const registered = fleet.map((gateway) => this.#gatewayEntry(gateway, written.get(gateway.name)));
    const names = new Set(registered.map(({ name }) => name));
    const strangers = await unregistered(this.#store, this.#leases.list(), names);
    const entries = [
      ...registered,
      ...strangers.map((one) => ({ ...refusedEntry(one), keys: this.#keysLike(written.get(one.name)) })),
    ];
    const same = entries.every((entry) => isDeepStrictEqual(entry, written.get(entry.name)));
    // In one step: a list that lacks a gateway, however shortly, is what devices would be told.
    if (!listed || !same || listed.length !== entries.length) await this.#bus.directory.setGateways(entries);
    this.#weights = new Map(entries.map(({ name, weight }) => [name, weight]));
  }

  /** `null` when there is none, or not this installation's. */
  async #listed(): Promise<DirectoryGateway[] | null> {
    try {
      return await this.#bus.directory.gateways();
    } catch (error) {
      if (error instanceof DirectoryIncomplete) return null;
      throw error;
    }
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
        const membership = this.membershipFrame({
          id,
          publicKey: identity.canaryKey,
          groupPath: groupId,
          membershipRevision,
          blockedAt: null,
        });
        const key = identity.canaryKey;
        entries.push({
          id,
          publicKey: key,
          state: 'active',
          groups: [groupId],
          membership,
          membershipEdition: this.editionOf({ membershipRevision }),
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
    const address = this.#addresses.of(gateway.name);
    const revoked = this.#leases.isRevoked(gateway.name);
    return {
      name: gateway.name,
      group: gateway.groupId,
      runPushServer: gateway.runPushServer,
      port: gateway.port,
      address: gateway.address,
      connectionLimit: gateway.connectionLimit,
      revision: gateway.revision,
      draining: gateway.drainingSince !== null || revoked,
      told: address ? served(address) : null,
      former: address?.former.map(served) ?? [],
      ...(!revoked && { pass: this.#passes.of(gateway.name, written?.pass) }),
      keys: this.#keysLike(written),
      // A gateway whose certificate was revoked learns it when it asks for the next one.
      renewAfter: Math.max(this.#renewAfter, this.#leases.revokedAt(gateway.name)),
      // Before the leases were read nothing is known against the weight that was.
      weight: this.#leases.known
        ? gatewayWeight(gateway, before)
        : (before ?? (gateway.runPushServer && gateway.drainingSince === null ? gateway.connectionLimit : 0)),
    };
  }

  /** Those that are written, if they are the same: what came from Redis differs in its types. */
  #keysLike(written: DirectoryGateway | undefined): readonly SignedServerKeys[] {
    const { documents } = this.#serverKeys;
    return written?.keys && sameDocuments(written.keys, documents) ? written.keys : documents;
  }

  #entry(device: DeviceWithPath): DirectoryDevice {
    return {
      id: device.id,
      publicKey: device.publicKey,
      state: device.blockedAt === null ? 'active' : 'blocked',
      groups: groupsOnPath(device.groupPath),
      membership: this.membershipFrame(device),
      membershipEdition: this.editionOf(device),
    };
  }
}

function refusedEntry({ name, initial, why }: Unregistered): DirectoryGateway {
  const nobody = { revision: 0, draining: false, weight: 0, told: null, former: [] };
  return { ...initial, name, ...nobody, refused: why };
}
