import { createHash } from 'node:crypto';
import type { Installation } from '../../bus/bus.ts';
import { nodeHpke } from '../../protocol/hpke-node.ts';
import {
  decodeEnrolRequest,
  type EnrolRequest,
  encodeEnrolled,
  enrolBytes,
  LIMITS,
  ProtocolError,
  rawKey,
  requestBytes,
  type SignedEnrolRequest,
  type SignedServerKeys,
  sealedSecretBytes,
  sealTo,
  tokenText,
} from '../../protocol/index.ts';
import { namesOf, readFleet } from '../balance/placement.ts';
import type { DeviceSecrets } from '../device-secrets.ts';
import { newId, plainText } from '../identifiers.ts';
import { holdsKey } from '../key-proof.ts';
import { derOf, newKeyPair } from '../keys/key-vault.ts';
import type { ServerKeys } from '../keys/server-keys.ts';
import { takeNames } from '../ledger/introductions.ts';
import { Problem, SignedRefusal } from '../problems.ts';
import { type EnrolmentToken, ROOT_GROUP } from '../store/records.ts';
import type { Store } from '../store/store.ts';
import { recordChange, type ServiceParts } from './service-parts.ts';

const DAY_MS = 86_400_000;
const PLATFORM_LENGTH = 64;
/** Refusals that are final for a device, and therefore signed (E-6). */
const FINAL = new Set<string>(['unauthorized', 'conflict', 'key-replaced', 'gone']);

/** In the form that travels (E-3). */
export interface Enrolment {
  keys: readonly SignedServerKeys[];
  body: Uint8Array;
  sig: Uint8Array;
}

type Parts = ServiceParts & {
  serverKeys: ServerKeys;
  secrets: DeviceSecrets;
  installation: Installation;
};

/** Enrolment tokens and enrolment (PROTOCOL.md, section E). Every method throws `Problem`. */
export class EnrolmentService {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** `ttl` in seconds. The token itself is in the answer only; the store keeps its public key. */
  async createToken(
    request: { groupId?: string; uses?: number; ttl?: number; note?: string },
    actor: string,
  ): Promise<EnrolmentToken & { token: string }> {
    const { store, now, serverKeys } = this.#parts;
    const at = now();
    const uses = request.uses ?? 1;
    const { publicKey, privateKey } = newKeyPair();
    const record: EnrolmentToken = {
      id: newId('e'),
      publicKey,
      groupId: request.groupId ?? ROOT_GROUP,
      note: request.note ?? '',
      usesLeft: uses,
      usesMax: uses,
      expiresAt: at + (request.ttl === undefined ? DAY_MS : request.ttl * 1000),
      createdAt: at,
      createdBy: actor,
      revokedAt: null,
    };
    await store.transaction(async (tx) => {
      await tx.enrolmentTokens.create(record);
      const detail = { groupId: record.groupId, uses, expiresAt: record.expiresAt, note: record.note };
      await recordChange(tx, at, actor, 'enrolment-token.created', record.id, detail);
    });
    const seed = rawKey(derOf(privateKey));
    return {
      ...record,
      token: tokenText('pp1', { id: record.id, seed, fingerprint: serverKeys.fingerprint }),
    };
  }

  async revokeToken(id: string, actor: string): Promise<void> {
    const { store, now } = this.#parts;
    await store.transaction(async (tx) => {
      const token = await tx.enrolmentTokens.get(id);
      if (!token) throw new Problem('not-found', `There is no enrolment token ${id}.`);
      if (token.revokedAt !== null) return;
      const at = now();
      await tx.enrolmentTokens.revoke(id, at);
      await recordChange(tx, at, actor, 'enrolment-token.revoked', id, {});
    });
  }

  /**
   * Creates the device, or finds the one that this key enrolled before (E-5), which uses up nothing of the
   * token. So a device that lost the answer can ask again. Resolves once gateways can know the device, so
   * that the first one it dials does not refuse it. Throws `BusUnavailable` if that is impossible now.
   */
  async enroll(signed: SignedEnrolRequest): Promise<Enrolment> {
    const request = readRequest(signed.body);
    const hash = createHash('sha256').update(requestBytes(signed)).digest();
    const { serverKeys } = this.#parts;
    try {
      await this.#checkSignatures(request, signed);
      return await this.answer(await this.#admitted(request), request, hash);
    } catch (error) {
      if (!(error instanceof Problem) || !FINAL.has(error.code)) throw error;
      const sig = serverKeys.signer.signRefusal(hash, error.code, error.message);
      throw new SignedRefusal(error, serverKeys.documents, sig);
    }
  }

  async #checkSignatures(request: EnrolRequest, { body, tokenSig, deviceSig }: SignedEnrolRequest) {
    const bytes = enrolBytes(body);
    if (!holdsKey(request.publicKey, bytes, deviceSig)) {
      throw new Problem('unauthorized', 'The signature is not by the key that the request names.');
    }
    const token = await this.#parts.store.enrolmentTokens.get(request.token);
    if (!token) throw refusal('unknown');
    if (token.publicKey === null || !holdsKey(token.publicKey, bytes, tokenSig)) {
      throw new Problem('unauthorized', 'The signature is not by this enrolment token.');
    }
  }

  async #admitted(request: EnrolRequest): Promise<string> {
    const { store, directory, hub } = this.#parts;
    const admit = () => store.transaction((tx) => this.#admit(tx, request));
    // The same device may ask twice at the same time; the second request then finds it.
    const id = await admit().catch((error) => {
      if (error instanceof Problem && error.code === 'conflict') return admit();
      throw error;
    });
    hub.notify();
    await directory.devicesChanged([id]);
    return id;
  }

  /** To a request with this hash: who the device is, with its newest secret sealed to the request's key. */
  async answer(
    id: string,
    { sealTo: publicKey }: Pick<EnrolRequest, 'sealTo'>,
    hash: Uint8Array,
  ): Promise<Enrolment> {
    const { store, directory, secrets, installation, serverKeys } = this.#parts;
    const [device] = await store.devices.withPaths([id]);
    if (!device) throw new Problem('gone', 'The device was deleted while it enrolled.');
    const generation = device.offered;
    const message = secrets.of(id, generation);
    const list = (await directory.listFor(device.groupPath))?.order;
    const body = encodeEnrolled({
      deviceId: id,
      installation: installation.id,
      generation,
      secret: await sealTo({ platform: nodeHpke, info: sealedSecretBytes(hash), publicKey, message }),
      membership: directory.membershipFor(device),
      ...(list && { list }),
      gateways: namesOf((await readFleet(this.#parts)).ranked(id, device.groupPath)),
    });
    return { keys: serverKeys.documents, body, sig: serverKeys.signer.signEnrolled(hash, body) };
  }

  async #admit(tx: Store, request: EnrolRequest): Promise<string> {
    const at = this.#parts.now();
    const known = await tx.devices.byPublicKey(request.publicKey);
    if (known) {
      const token = await tx.enrolmentTokens.get(request.token);
      if (!token) throw refusal('unknown');
      if (token.revokedAt !== null) throw refusal('revoked');
      if (token.expiresAt <= at) throw refusal('expired');
      if (known.blockedAt !== null) {
        throw new Problem('conflict', 'The device with this key is blocked; an operator must unblock it.');
      }
      if (request.name !== undefined) await takeNames(tx, [{ device: known.id, name: request.name }], at);
      return known.id;
    }
    const refused = await tx.refusedKeys.why(request.publicKey);
    if (refused === 'split')
      throw new Problem('conflict', 'Two programs used this key: make a new one to enrol.');
    if (refused === 'rotated')
      throw new Problem('key-replaced', 'The device with this key has a newer one: enrol with that.');
    const use = await tx.enrolmentTokens.use(request.token, at);
    if ('refused' in use) throw refusal(use.refused);
    const id = newId('d');
    const { groupId } = use.token;
    const name = plainText(request.name, LIMITS.nameLength, id);
    await tx.devices.create({
      id,
      groupId,
      name,
      platform: plainText(request.platform, PLATFORM_LENGTH, 'unknown'),
      software: plainText(request.software, LIMITS.softwareLength, 'unknown'),
      publicKey: request.publicKey,
      createdAt: at,
    });
    const detail = { name, groupId, token: use.token.id };
    await recordChange(tx, at, 'system', 'device.enrolled', id, detail, { id, name, groupId });
    return id;
  }
}

function readRequest(body: Uint8Array): EnrolRequest {
  try {
    return decodeEnrolRequest(body);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    throw new Problem('bad-request', `body: ${error.message}.`);
  }
}

function refusal(why: 'unknown' | 'revoked' | 'expired' | 'used-up'): Problem {
  if (why === 'unknown') return new Problem('unauthorized', 'There is no such enrolment token.');
  const what = { revoked: 'was revoked', expired: 'has expired', 'used-up': 'is used up' }[why];
  return new Problem('gone', `This enrolment token ${what}; ask an operator for a new one.`);
}
