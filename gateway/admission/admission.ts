/**
 * Admits devices in batches. Proofs that arrive in one turn of the event loop are looked up together,
 * verified in slices so that other work is not delayed, claimed together, and welcomed. Only one batch runs
 * at a time, which orders the claims of one device by two connections.
 */
import { setTimeout as delay, setImmediate as turn } from 'node:timers/promises';
import type { Logger } from 'pino';
import { type Bus, type Delivery, type DirectoryDevice, DirectoryIncomplete } from '../../bus/bus.ts';
import { isCanary } from '../../bus/canary.ts';
import { keyMark } from '../../bus/key-mark.ts';
import type { Dependency } from '../../health/health.ts';
import { CLOSE, isNewer, type Prove, type RedirectReason } from '../../protocol/index.ts';
import type { HeldLease } from '../held-lease.ts';
import type { CarriedKeys } from '../lists/carried-keys.ts';
import type { CarriedLists } from '../lists/carried-lists.ts';
import type { GatewayList, ListedGateway } from '../lists/gateway-list.ts';
import { redirectFrame, welcomeFrame } from '../lists/list-frames.ts';
import type { ReceiptSpool } from '../receipts/spool.ts';
import type { Connections } from '../sessions/connections.ts';
import {
  type Connection,
  isLoopback,
  type Proving,
  remoteAddress,
  type Session,
} from '../sessions/session.ts';
import type { Dismissals } from './dismissals.ts';
import { judge } from './handshake.ts';
import { flatten, type Interner } from './interner.ts';
import type { MembershipCheck } from './membership-check.ts';
import type { SignatureCheck } from './signature-check.ts';
import type { UnsignedEntries } from './unsigned-entries.ts';

const BATCH = 256;
/** Signatures verified before yielding to other work: about 3 ms. */
const SLICE = 25;
/**
 * Under load, a batch waits this long for more proofs, unless this many are waiting: a Redis round trip costs
 * about as much for one device as for ten. A single proof is not delayed.
 */
const GATHER_MS = 15;
const ENOUGH = 48;

export interface AdmissionParts {
  bus: Bus;
  gateway: string;
  worker: string;
  heartbeatMs: number;
  connections: Connections;
  gateways: GatewayList;
  carriedKeys: CarriedKeys;
  carriedLists: CarriedLists;
  spool: ReceiptSpool;
  interner: Interner;
  isSigned: SignatureCheck;
  isMember: MembershipCheck;
  unsignedEntries: UnsignedEntries;
  dismissals: Dismissals;
  directoryHealth: Dependency;
  /** Whether this gateway moved from a port, and the list of the group says where to. */
  movedFrom(port: number, group: string): boolean;
  lease(): HeldLease | null;
  /** Most devices of the worker. */
  limit(): number;
  log: Logger;
}

interface Waiting {
  connection: Connection;
  nonce: Uint8Array;
  prove: Prove;
}

/** Passed all steps; holds no session yet. */
interface Approved extends Waiting {
  device: DirectoryDevice;
}

interface Claimed {
  session: number;
  replaced?: number;
}

export class Admission {
  readonly #parts: AdmissionParts;
  #queue: Waiting[] = [];
  #running: Promise<void> | null = null;
  /** Sessions welcomed since `takeCount`. */
  #welcomed = 0;

  constructor(parts: AdmissionParts) {
    this.#parts = parts;
  }

  /** Queues a `prove`; the device gets the outcome later, as `welcome` or as a close. */
  submit(connection: Connection & { state: Proving }, prove: Prove): void {
    const { nonce } = connection.state;
    if (isCanary(prove.device) && !isLoopback(connection)) {
      this.#parts.connections.close(connection, CLOSE.unknownDevice, 'H-3: no such device');
      return;
    }
    this.#parts.connections.beginAdmission(connection);
    this.#queue.push({ connection, nonce, prove });
    this.#running ??= this.#run();
  }

  /** Sessions welcomed since the last call. */
  takeCount(): number {
    const count = this.#welcomed;
    this.#welcomed = 0;
    return count;
  }

  /** Resolves when nothing is being admitted. */
  async settled(): Promise<void> {
    while (this.#running) await this.#running;
  }

  async #run(): Promise<void> {
    try {
      for (let first = true; this.#queue.length > 0; first = false) {
        if (first || this.#queue.length >= ENOUGH) await turn();
        else await delay(GATHER_MS);
        const batch = this.#queue.splice(0, BATCH);
        try {
          await this.#process(batch);
        } catch (error) {
          const level = error instanceof DirectoryIncomplete ? 'debug' : 'warn';
          this.#parts.log[level]({ err: error, waiting: batch.length }, 'cannot admit devices now');
          for (const { connection } of batch) this.#notReady(connection);
        }
      }
    } finally {
      this.#running = null;
    }
  }

  #notReady(connection: Connection): void {
    if (connection.state.name === 'admitting') {
      this.#parts.connections.close(connection, CLOSE.notReady, 'H-3: the gateway cannot admit devices now');
    }
  }

  async #process(batch: Waiting[]): Promise<void> {
    const lease = this.#parts.lease();
    if (!lease) throw new Error('the worker holds no lease');
    const devices = await this.#lookUp(batch);
    const approved: Approved[] = [];
    for (const [index, waiting] of batch.entries()) {
      if (index > 0 && index % SLICE === 0) await turn();
      // Devices that have left need no signature check.
      if (waiting.connection.state.name !== 'admitting') continue;
      const device = devices[index] ?? null;
      if (this.#passes(waiting, device)) approved.push({ ...waiting, device });
    }
    const fitting = this.#fitting(approved);
    if (fitting.length > 0) await this.#claimAndWelcome(fitting);
  }

  /**
   * Keeps as many as fit. The check before the upgrade counts devices only, so more may have come than fit.
   */
  #fitting(approved: Approved[]): Approved[] {
    const { connections, gateways, limit } = this.#parts;
    let room = limit() - connections.devices;
    return approved.filter((applicant) => {
      const { connection, device } = applicant;
      if (isLoopback(connection) || connections.sessions.has(device.id) || room-- > 0) return true;
      const to = gateways.elsewhere(gateways.scope(device.groups), device.id);
      if (to.length > 0) this.#lead(applicant, to, 'full');
      const code = to.length > 0 ? CLOSE.redirected : CLOSE.overloaded;
      connections.close(connection, code, 'the gateway is full');
      return false;
    });
  }

  async #lookUp(batch: Waiting[]): Promise<(DirectoryDevice | null)[]> {
    const { bus, directoryHealth } = this.#parts;
    try {
      const devices = await bus.directory.devices(batch.map(({ prove }) => prove.device));
      await this.#learnLists(devices);
      directoryHealth.good();
      return devices;
    } catch (error) {
      directoryHealth.bad(error instanceof Error ? error.message : String(error));
      throw error;
    }
  }

  /** Those of their groups (G-18). */
  #learnLists(devices: readonly (DirectoryDevice | null)[]): Promise<void> {
    const { carriedLists, gateways } = this.#parts;
    return carriedLists.learn(
      devices.flatMap((device) => (device ? gateways.scope(device.groups).group : [])),
    );
  }

  #passes(waiting: Waiting, device: DirectoryDevice | null): device is DirectoryDevice {
    const { connections, unsignedEntries } = this.#parts;
    const { port } = waiting.connection;
    const rejection = judge({ ...waiting, port, device }, this.#parts);
    if (!rejection) return true;
    if (rejection.unsigned) unsignedEntries.refused(waiting.prove.device);
    const { redirect } = rejection;
    if (redirect && device) this.#lead({ ...waiting, device }, redirect.to, redirect.reason);
    if (rejection.order) {
      this.#sendKeys(waiting);
      connections.send(waiting.connection, rejection.order);
    }
    connections.close(waiting.connection, rejection.code, rejection.reason);
    return false;
  }

  /**
   * Tells a device that is not served here where to go (H-10): what it needs to know of the others, then
   * their names.
   */
  #lead(applicant: Approved, to: readonly ListedGateway[], reason: RedirectReason): void {
    const { connections } = this.#parts;
    const { connection, prove, device } = applicant;
    connections.cork(connection, () => {
      this.#sendKeys(applicant);
      if (isNewer(device.membershipEdition, prove.membership))
        connections.send(connection, device.membership);
      this.#sendList(applicant);
      connections.send(connection, redirectFrame(to, reason));
    });
  }

  /** G-18 */
  #sendList({ connection, prove, device }: Approved): void {
    const { carriedLists, connections, gateways } = this.#parts;
    const list = carriedLists.after(gateways.scope(device.groups).group, prove.gateways);
    if (list) connections.send(connection, list);
  }

  async #claimAndWelcome(approved: Approved[]): Promise<void> {
    const { bus, connections, lease } = this.#parts;
    let held = this.#mustHold(lease());
    const closings = new Map<string, Delivery[]>();
    let claims = await bus.presence.claim(
      held.incarnation,
      approved.map(({ prove }) => ({ device: prove.device })),
    );
    const claimed: (Claimed | null)[] = claims.map((claim, index) => {
      if (!claim) return null;
      const { previous } = claim;
      if (!previous) return { session: claim.session };
      const device = approved[index]?.prove.device;
      if (device !== undefined && previous.incarnation !== held.incarnation) {
        const deliveries = closings.get(previous.incarnation) ?? [];
        deliveries.push(replacedElsewhere(device, previous.session));
        closings.set(previous.incarnation, deliveries);
      }
      return { session: claim.session, replaced: previous.session };
    });
    // The lease may have been lost and replaced in the meantime: these claims then belong to no living lease.
    while (lease()?.number !== held.number) {
      held = this.#mustHold(lease());
      claims = await bus.presence.claim(
        held.incarnation,
        approved.map(({ prove }, index) => ({
          device: prove.device,
          heldSession: claimed[index]?.session ?? 0,
        })),
      );
      claims.forEach((claim, index) => {
        const before = claimed[index];
        claimed[index] = claim && before ? { ...before, session: claim.session } : null;
      });
    }
    // Those that were used by nobody may have been forgotten meanwhile.
    await this.#learnLists(approved.map(({ device }) => device)).catch((error: unknown) =>
      this.#parts.log.warn({ err: error }, 'devices are welcomed without the newest list of gateways'),
    );
    approved.forEach((applicant, index) => {
      const claim = claimed[index];
      if (claim) this.#welcome(applicant, claim, held);
      else connections.close(applicant.connection, CLOSE.replaced, 'H-9: a newer connection of this device');
    });
    await this.#closeElsewhere(closings);
  }

  #mustHold(lease: HeldLease | null): HeldLease {
    if (!lease) throw new Error('the lease was lost during admission');
    return lease;
  }

  #welcome(applicant: Approved, claim: Claimed, lease: HeldLease): void {
    const { connection, prove, device } = applicant;
    const { bus, connections, gateways, heartbeatMs, interner, spool, gateway, worker } = this.#parts;
    if (connection.state.name !== 'admitting') {
      // The device left during the claim; nobody else knows this session.
      connections.release(prove.device, claim.session);
      connections.endOlder(prove.device, claim.session);
      return;
    }
    const { membershipEdition: current } = device;
    const outdated = isNewer(current, prove.membership);
    const session: Session = {
      name: 'admitted',
      device: flatten(prove.device),
      session: claim.session,
      leaseNumber: lease.number,
      scope: gateways.scope(device.groups),
      software: interner.text(prove.software),
      caps: interner.list(prove.caps),
      // What it gets with `welcome` counts as held, so that the administration server does not send it again.
      membership: outdated ? current : prove.membership,
      key: keyMark(device.publicKey),
      progressTick: 0,
    };
    // The socket would have to be asked for it.
    const known = connection.unauthenticated?.address;
    if (!connections.admit(connection, session)) {
      connections.close(connection, CLOSE.replaced, 'H-9: a newer connection of this device');
      return;
    }
    const now = bus.clock.now();
    if (!isLoopback(connection)) {
      this.#welcomed++;
      const address = known ?? remoteAddress(connection.socket);
      spool.add({
        ...connectedReceipt(session, lease.incarnation, worker, gateway, address, now),
        ...(claim.replaced === undefined ? {} : { replaced: claim.replaced }),
        ...(prove.name === undefined ? {} : { name: prove.name }),
        ...(prove.displaced === undefined ? {} : { displaced: prove.displaced }),
      });
    }
    connections.cork(connection, () => {
      this.#sendKeys(applicant);
      const list = gateways.ranked(session.scope, session.device);
      connections.send(connection, welcomeFrame(list, session.session, now, heartbeatMs, gateways.own.pass));
      if (outdated) connections.send(connection, device.membership);
      this.#sendList(applicant);
    });
    if (isNewer(prove.membership, current)) {
      // It would drop the current one (S-7): the server was restored from a backup, or the device broke E-5.
      const editions = { held: prove.membership, current };
      this.#parts.log.warn(
        { deviceId: prove.device, ...editions },
        'device holds a newer membership than the directory',
      );
    }
  }

  /** K-5: before any order, so that the device knows who signed it. */
  #sendKeys({ connection, prove }: Pick<Waiting, 'connection' | 'prove'>): void {
    const { carriedKeys, connections } = this.#parts;
    for (const frame of carriedKeys.after(prove.keys)) connections.send(connection, frame);
  }

  /** Tells the previous workers of these devices to close their sessions (H-9). */
  async #closeElsewhere(closings: Map<string, Delivery[]>): Promise<void> {
    for (const [incarnation, deliveries] of closings) {
      try {
        const outcome = await this.#parts.bus.outboxes.append(incarnation, deliveries);
        if (outcome === 'full')
          this.#parts.log.warn(
            { incarnation },
            'cannot close older sessions at another worker: its outbox is full',
          );
      } catch (error) {
        // Presence is correct all the same; the heartbeat timeout ends the older connection.
        this.#parts.log.debug({ err: error, incarnation }, 'cannot close older sessions at another worker');
      }
    }
  }
}

function replacedElsewhere(device: string, session: number): Delivery {
  return {
    devices: [device],
    close: { code: CLOSE.replaced, reason: 'H-9: a newer connection of this device', sessions: [session] },
  };
}

export function connectedReceipt(
  session: Session,
  incarnation: string,
  worker: string,
  gateway: string,
  address: string,
  at: number,
) {
  const { device, software, caps, membership, key } = session;
  return {
    kind: 'connected' as const,
    device,
    session: session.session,
    incarnation,
    worker,
    gateway,
    address,
    software,
    caps,
    membership,
    key,
    at,
  };
}
