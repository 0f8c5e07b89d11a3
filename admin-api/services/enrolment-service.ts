import type { Installation } from '../../bus/bus.ts';
import { enrolBytes, type GatewayAddress, LIMITS } from '../../protocol/index.ts';
import { addressesOf, readFleet } from '../balance/placement.ts';
import type { DeviceSecrets } from '../device-secrets.ts';
import { hashSecret, newId, newSecret, plainText } from '../identifiers.ts';
import { holdsKey } from '../key-proof.ts';
import { takeNames } from '../ledger/introductions.ts';
import { Problem } from '../problems.ts';
import { type Device, type EnrolmentToken, ROOT_GROUP } from '../store/records.ts';
import type { Store } from '../store/store.ts';
import { recordChange, type ServiceParts } from './service-parts.ts';

const DAY_MS = 86_400_000;
const PLATFORM_LENGTH = 64;

export interface EnrolmentRequest {
  token: string;
  /** Raw Ed25519 public key, 32 bytes. */
  publicKey: Uint8Array;
  /** Signature over `enrolBytes` by that key, 64 bytes (E-2). */
  proof: Uint8Array;
  name?: string;
  platform?: string;
  software?: string;
}

export interface Enrolment {
  device: Device;
  serverKey: Uint8Array;
  /** What the device and the server share from now on. */
  secret: Uint8Array;
  installation: Installation;
  gateways: GatewayAddress[];
  membership: { body: Uint8Array; sig: Uint8Array };
  /** The revision inside the membership. */
  revision: number;
}

/** Enrolment tokens and enrolment (PROTOCOL.md, section E). Every method throws `Problem`. */
export class EnrolmentService {
  readonly #parts: ServiceParts;
  readonly #signer: { readonly publicKey: Uint8Array };
  readonly #installation: Installation;
  readonly #secrets: DeviceSecrets;

  constructor(
    parts: ServiceParts & {
      signer: { readonly publicKey: Uint8Array };
      secrets: DeviceSecrets;
      installation: Installation;
    },
  ) {
    this.#parts = parts;
    this.#signer = parts.signer;
    this.#installation = parts.installation;
    this.#secrets = parts.secrets;
  }

  /** `ttl` in seconds. The token itself is in the answer only; the store keeps its hash. */
  async createToken(
    request: { groupId?: string; uses?: number; ttl?: number; note?: string },
    actor: string,
  ): Promise<EnrolmentToken & { token: string }> {
    const { store, now } = this.#parts;
    const at = now();
    const uses = request.uses ?? 1;
    const record: EnrolmentToken = {
      id: newId('e'),
      groupId: request.groupId ?? ROOT_GROUP,
      note: request.note ?? '',
      usesLeft: uses,
      usesMax: uses,
      expiresAt: at + (request.ttl === undefined ? DAY_MS : request.ttl * 1000),
      createdAt: at,
      createdBy: actor,
      revokedAt: null,
    };
    const token = newSecret('ppe');
    await store.transaction(async (tx) => {
      await tx.enrolmentTokens.create({ ...record, hash: hashSecret(token) });
      const detail = { groupId: record.groupId, uses, expiresAt: record.expiresAt, note: record.note };
      await recordChange(tx, at, actor, 'enrolment-token.created', record.id, detail);
    });
    return { ...record, token };
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
   * Makes the device, or finds the one this key made before (E-5): that takes no use of the token, so a
   * device that lost the answer can ask again. Resolves once gateways can know the device, or the device
   * would be turned away for good by the first one it dials; throws `BusUnavailable` when that cannot be done
   * now.
   */
  async enroll(request: EnrolmentRequest): Promise<Enrolment> {
    const { store, directory, hub } = this.#parts;
    const { token, publicKey, proof } = request;
    if (!holdsKey(publicKey, enrolBytes(token, publicKey), proof)) {
      throw new Problem('unauthorized', 'The proof is not a signature of this token by this key.');
    }
    const admit = () => store.transaction((tx) => this.#admit(tx, request));
    // The same device may be asking twice at once; whoever comes second finds it the second time.
    const id = await admit().catch((error) => {
      if (error instanceof Problem && error.code === 'conflict') return admit();
      throw error;
    });
    hub.notify();
    await directory.devicesChanged([id]);
    const [device] = await store.devices.withPaths([id]);
    if (!device) throw new Problem('gone', 'The device was deleted while it enrolled.');
    return {
      device,
      serverKey: this.#signer.publicKey,
      secret: this.#secrets.of(id, device.generation),
      installation: this.#installation,
      gateways: addressesOf((await readFleet(this.#parts)).ranked(id, device.groupPath)),
      membership: directory.membershipFor(device),
      revision: device.membershipRevision,
    };
  }

  async #admit(tx: Store, request: EnrolmentRequest): Promise<string> {
    const at = this.#parts.now();
    const hash = hashSecret(request.token);
    const known = await tx.devices.byPublicKey(request.publicKey);
    if (known) {
      const token = await tx.enrolmentTokens.byHash(hash);
      if (!token) throw refusal('unknown');
      if (token.revokedAt !== null) throw refusal('revoked');
      if (token.expiresAt <= at) throw refusal('expired');
      if (known.blockedAt !== null) {
        throw new Problem('conflict', 'The device with this key is blocked; an operator must unblock it.');
      }
      if (request.name !== undefined) await takeNames(tx, [{ device: known.id, name: request.name }], at);
      return known.id;
    }
    if (await tx.deletedDevices.refusesKey(request.publicKey)) {
      throw new Problem('conflict', 'Two programs used this key: make a new one to enrol.');
    }
    const use = await tx.enrolmentTokens.use(hash, at);
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

function refusal(why: 'unknown' | 'revoked' | 'expired' | 'used-up'): Problem {
  if (why === 'unknown') return new Problem('unauthorized', 'There is no such enrolment token.');
  const what = { revoked: 'was revoked', expired: 'has expired', 'used-up': 'is used up' }[why];
  return new Problem('gone', `This enrolment token ${what}; ask an operator for a new one.`);
}
