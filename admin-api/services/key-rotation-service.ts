import { createHash } from 'node:crypto';
import {
  decodeKeyRotation,
  isStrictEd25519,
  isStrictX25519,
  type KeyRotation,
  keyRotationBytes,
  ProtocolError,
} from '../../protocol/index.ts';
import { DeviceLimit } from '../device-limit.ts';
import { holdsKey } from '../key-proof.ts';
import { Problem } from '../problems.ts';
import type { Store } from '../store/store.ts';
import type { Enrolment, EnrolmentService } from './enrolment-service.ts';
import { recordChange, renewMemberships, type ServiceParts } from './service-parts.ts';

/** The signed `body`, and the signatures by the keys that it names, 64 bytes each. */
export interface SignedKeyRotation {
  body: Uint8Array;
  fromSig: Uint8Array;
  toSig: Uint8Array;
}

export type KeyRotationParts = ServiceParts & { enrolment: Pick<EnrolmentService, 'answer'> };

/** Keys that a device may have in an hour; whoever has its key must not fill the database with others. */
const ROTATIONS_PER_HOUR = 4;
const HOUR_MS = 3_600_000;
/** Former keys that are remembered of a device. */
const FORMER_KEPT = 32;
/** Answers to one device within a minute: each writes to the bus. */
const ANSWERS_PER_MINUTE = 8;

/** Devices change their own keys (PROTOCOL.md, K-6). */
export class KeyRotationService {
  readonly #parts: KeyRotationParts;
  readonly #limit = new DeviceLimit(ANSWERS_PER_MINUTE, 60_000);

  constructor(parts: KeyRotationParts) {
    this.#parts = parts;
  }

  /** The same request again changes nothing. Throws `Problem`. */
  async rotate({ body, fromSig, toSig }: SignedKeyRotation): Promise<Enrolment> {
    const { store, hub, enrolment } = this.#parts;
    const request = read(body);
    const bytes = keyRotationBytes(body);
    if (!holdsKey(request.to, bytes, toSig) || !holdsKey(request.from, bytes, fromSig))
      throw new Problem('unauthorized', 'The request is not signed by both keys.');
    const changed = await store.transaction((tx) => this.#change(tx, request));
    if (changed) hub.notify();
    // Also for a repeated request: the server that made the change may have stopped before it informed the
    // others.
    await renewMemberships(this.#parts, [request.device]);
    const hash = createHash('sha256').update(body).update(fromSig).update(toSig).digest();
    return enrolment.answer(request.device, request, hash);
  }

  async #change(tx: Store, { device: id, from, to, generation }: KeyRotation): Promise<boolean> {
    const device = await tx.devices.getForChange(id);
    const has = (key: Uint8Array) => device && Buffer.compare(device.publicKey, key) === 0;
    if (!device || !(has(from) || has(to)))
      throw new Problem('unauthorized', 'There is no such device with this key.');
    if (device.blockedAt !== null)
      throw new Problem('conflict', 'The device is blocked; an operator must unblock it.');
    // Not before: others must use up nothing of what this device may.
    const waitMs = this.#limit.take(id);
    if (waitMs > 0) throw tooMany(waitMs);
    if (has(to)) return false;
    if ((await tx.devices.byPublicKey(to)) || (await tx.refusedKeys.why(to)))
      throw new Problem('conflict', 'This key is that of another device, or was in use before.');
    const at = this.#parts.now();
    const earlier = await tx.refusedKeys.rotations(id, at - HOUR_MS);
    const first = earlier[ROTATIONS_PER_HOUR - 1];
    if (first !== undefined) throw tooMany(first + HOUR_MS - at);
    await tx.devices.setPublicKey(id, to);
    // Whoever copied its files has the secret as well as the key.
    await tx.devices.offerSecret(id, generation);
    await tx.refusedKeys.rotated(id, from, at, FORMER_KEPT);
    await recordChange(tx, at, id, 'device.key-rotated', id, { name: device.name }, { id });
    return true;
  }
}

function tooMany(waitMs: number): Problem {
  const detail = 'The device asked for another key too often; ask again later.';
  return new Problem('too-many-requests', detail, Math.ceil(waitMs / 1_000));
}

function read(body: Uint8Array): KeyRotation {
  try {
    const request = decodeKeyRotation(body);
    if (isStrictEd25519(request.to) && isStrictX25519(request.sealTo)) return request;
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
  }
  throw new Problem('bad-request', 'The body is not as K-6 says.');
}
