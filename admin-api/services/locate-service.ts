import { createHmac, timingSafeEqual } from 'node:crypto';
import { LIMITS, locateBytes, type SignedOrder, type SignedServerKeys } from '../../protocol/index.ts';
import { namesOf, type PlacementParts, readFleet } from '../balance/placement.ts';
import type { DeviceSecrets } from '../device-secrets.ts';
import type { GroupList } from '../directory/gateway-lists.ts';
import type { MembershipSubject } from '../directory/projector.ts';
import { holdsKey } from '../key-proof.ts';
import type { ServerKeys } from '../keys/server-keys.ts';
import { Problem } from '../problems.ts';
import { RateLimit } from '../rate-limit.ts';

/** How long a challenge is valid, milliseconds. */
const CHALLENGE_MS = 60_000;
const TIME_BYTES = 6;
const MAC_BYTES = 32;
/** Answers per second for all devices together; challenges cost only a hash and are not counted. */
const PER_SECOND = 200;
/** Shortest time between two answers to one device, milliseconds. */
const PER_DEVICE_MS = 5_000;
const DEVICES_MAX = 10_000;
/** Spread of Retry-After, so that devices refused together return at different times, seconds. */
const RETRY_S = [5, 60] as const;

export interface LocateRequest {
  device: string;
  /** 32 bytes chosen by the device; the answer's signature covers them. */
  nonce: Uint8Array;
}

export interface LocateProof extends LocateRequest {
  challenge: string;
  /** Signature over `locateBytes` by the device's key, 64 bytes. */
  proof: Uint8Array;
}

export interface Located {
  /** What the device needs to follow the server keys (K-7). */
  keys: readonly SignedServerKeys[];
  /** The device's newest: it may have another group since it was last here. */
  membership: SignedOrder;
  /** The device may use these; absent while there are none (G-18). */
  list?: SignedOrder;
  /** Names of them, the best first. */
  gateways: string[];
  /** By a signing key of the newest of `keys`. */
  sig: Uint8Array;
}

export interface LocateParts extends PlacementParts {
  serverKeys: Pick<ServerKeys, 'documents' | 'signer'>;
  directory: PlacementParts['directory'] & {
    membershipFor(device: MembershipSubject): SignedOrder;
    listFor(groupPath: string): Promise<GroupList | null>;
  };
  secrets: Pick<DeviceSecrets, 'secretFor'>;
  now: () => number;
}

/**
 * Tells devices that no gateway admits where to go (PROTOCOL.md, G-16). It stores nothing about a challenge:
 * the challenge contains its time and a MAC that every administration server can check. Every method throws
 * `Problem`.
 */
export class LocateService {
  readonly #parts: LocateParts;
  readonly #secret: Uint8Array;
  /** Times of the last answers by device, the oldest first. */
  readonly #answered = new Map<string, number>();
  readonly #rate: RateLimit;

  constructor(parts: LocateParts) {
    this.#parts = parts;
    this.#secret = parts.secrets.secretFor('locate challenge');
    this.#rate = new RateLimit(PER_SECOND, parts.now);
  }

  challenge(request: LocateRequest): string {
    const time = Buffer.alloc(TIME_BYTES);
    time.writeUIntBE(this.#parts.now(), 0, TIME_BYTES);
    return Buffer.concat([time, this.#mac(time, request)]).toString('base64url');
  }

  async locate(request: LocateProof): Promise<Located> {
    const { store, serverKeys, directory } = this.#parts;
    if (!this.#isFresh(request))
      throw new Problem('unauthorized', 'The challenge is not good any more: ask for one.');
    const { device: id, nonce, challenge, proof } = request;
    this.#mayAsk(id);
    // After the cheap checks: invalid requests must not use up devices' share.
    this.#takeToken();
    const [device] = await store.devices.withPaths([id]);
    if (!device || !holdsKey(device.publicKey, locateBytes(nonce, challenge, id), proof)) {
      throw new Problem('unauthorized', 'There is no such device, or the proof is not by its key.');
    }
    if (device.blockedAt !== null)
      throw new Problem('conflict', 'The device is blocked; an operator must unblock it.');
    this.#note(id);
    const membership = directory.membershipFor(device);
    const list = (await directory.listFor(device.groupPath))?.order;
    const gateways = namesOf((await readFleet(this.#parts)).ranked(id, device.groupPath));
    const sig = serverKeys.signer.signLocated(nonce, id, gateways, list?.body);
    return { keys: serverKeys.documents, membership, ...(list && { list }), gateways, sig };
  }

  #mac(time: Uint8Array, { device, nonce }: LocateRequest): Buffer {
    return createHmac('sha256', this.#secret).update(time).update(nonce).update(device).digest();
  }

  #isFresh(request: LocateProof): boolean {
    const bytes = Buffer.from(request.challenge, 'base64url');
    if (bytes.length !== TIME_BYTES + MAC_BYTES || request.nonce.length !== LIMITS.nonceBytes) return false;
    const time = bytes.subarray(0, TIME_BYTES);
    if (!timingSafeEqual(bytes.subarray(TIME_BYTES), this.#mac(time, request))) return false;
    // A challenge of a server whose clock is slightly ahead may lie in the future.
    return Math.abs(this.#parts.now() - time.readUIntBE(0, TIME_BYTES)) <= CHALLENGE_MS;
  }

  #mayAsk(device: string): void {
    const restMs =
      (this.#answered.get(device) ?? Number.NEGATIVE_INFINITY) + PER_DEVICE_MS - this.#parts.now();
    if (restMs <= 0) return;
    throw new Problem(
      'too-many-requests',
      'The device was answered a moment ago.',
      Math.ceil(restMs / 1_000),
    );
  }

  #note(device: string): void {
    this.#answered.delete(device);
    if (this.#answered.size >= DEVICES_MAX)
      this.#answered.delete(this.#answered.keys().next().value as string);
    this.#answered.set(device, this.#parts.now());
  }

  #takeToken(): void {
    if (this.#rate.take()) return;
    const [from, to] = RETRY_S;
    const retryAfter = from + Math.floor(Math.random() * (to - from));
    throw new Problem('too-many-requests', 'Too many devices ask where to go; ask again later.', retryAfter);
  }
}
