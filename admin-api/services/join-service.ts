import { createPrivateKey, createPublicKey, randomBytes } from 'node:crypto';
import type { Lease } from '../../bus/bus.ts';
import { fingerprintText } from '../../bus/join-messages.ts';
import { pkcs8, rawKey, tokenText } from '../../protocol/index.ts';
import { newId } from '../identifiers.ts';
import { revokeAll } from '../pki/forgotten-certificates.ts';
import type { JoinAnswers } from '../pki/join-answers.ts';
import { Problem } from '../problems.ts';
import type { GatewayCertificate, JoinToken } from '../store/pki-records.ts';
import { recordChange, type ServiceParts } from './service-parts.ts';

const HOUR_MS = 3_600_000;
/** Created at a start, for gateways that may start later. */
const FIRST_TOKEN_S = 7 * 86_400;

/** A gateway that waits for approval. */
export interface JoinRequestView {
  id: string;
  /** The fingerprint that the gateway shows. */
  fingerprint: string;
  gateway: string;
  askedAt: number;
  /** Whether it asks this installation. */
  ours: boolean;
}

type JoinServiceParts = Pick<ServiceParts, 'store' | 'now' | 'hub' | 'directory'> & {
  joinAnswers: Pick<JoinAnswers, 'awaitingApproval' | 'approve'>;
  serverKeys: { readonly fingerprint: Uint8Array };
  leases: { list(): readonly Lease[]; refresh(): Promise<void> };
  gatewayKeys: { forget(): void };
};

/** Issues and revokes certificates of gateways. Every method throws `Problem`. */
export class JoinService {
  readonly #parts: JoinServiceParts;

  constructor(parts: JoinServiceParts) {
    this.#parts = parts;
  }

  /** Of this installation, 32 bytes. */
  get fingerprint(): Uint8Array {
    return this.#parts.serverKeys.fingerprint;
  }

  /** `ttl` in seconds. The token itself is in the answer only; the store keeps its public key. */
  async createToken(
    { gateway, ttl }: { gateway: string; ttl?: number },
    actor: string,
  ): Promise<JoinToken & { token: string }> {
    const { store, now } = this.#parts;
    const at = now();
    const id = newId('j');
    const seed = randomBytes(32);
    const expiresAt = at + (ttl === undefined ? HOUR_MS : ttl * 1000);
    const publicKey = publicKeyOf(seed);
    const given = { createdAt: at, createdBy: actor, revokedAt: null, usedAt: null };
    const record: JoinToken = { id, gateway, publicKey, expiresAt, ...given };
    await store.transaction(async (tx) => {
      await tx.joinTokens.create(record);
      await recordChange(tx, at, actor, 'join-token.created', id, { gateway, expiresAt });
    });
    return { ...record, token: tokenText('ppg1', { id, seed, fingerprint: this.fingerprint }) };
  }

  /** A token for each of these gateways that never joined. */
  async firstTokens(gateways: readonly string[]): Promise<{ gateway: string; token: string }[]> {
    const made: { gateway: string; token: string }[] = [];
    for (const gateway of gateways) {
      const known = await this.#parts.store.gatewayCertificates.ofGateway(gateway);
      if (known.length > 0) continue;
      const { token } = await this.createToken({ gateway, ttl: FIRST_TOKEN_S }, 'system');
      made.push({ gateway, token });
    }
    return made;
  }

  async revokeToken(id: string, actor: string): Promise<void> {
    const { store, now } = this.#parts;
    await store.transaction(async (tx) => {
      const token = await tx.joinTokens.get(id);
      if (!token) throw new Problem('not-found', `There is no join token ${id}.`);
      const at = now();
      if (!(await tx.joinTokens.revoke(id, at))) return;
      await recordChange(tx, at, actor, 'join-token.revoked', id, { gateway: token.gateway });
    });
  }

  async requests(): Promise<JoinRequestView[]> {
    const waiting = await this.#parts.joinAnswers.awaitingApproval();
    return waiting.map(({ id, request }) => ({
      id,
      fingerprint: fingerprintText(id),
      gateway: request.gateway,
      askedAt: request.at,
      ours: Buffer.from(request.fingerprint).equals(this.fingerprint),
    }));
  }

  /** The gateway gets its certificate soon after. */
  async approve(id: string, actor: string): Promise<JoinRequestView> {
    const { joinAnswers, hub, directory } = this.#parts;
    const join = (await joinAnswers.awaitingApproval()).find((waiting) => waiting.id === id);
    const view = (await this.requests()).find((request) => request.id === id);
    if (!join || !view) {
      throw new Problem('not-found', 'No gateway waits with this request; a gateway repeats its request.');
    }
    if (!view.ours) {
      throw new Problem('conflict', `Gateway ${view.gateway} asks an installation with another fingerprint.`);
    }
    await joinAnswers.approve(join, actor);
    hub.notify();
    directory.gatewaysChangedSoon();
    return view;
  }

  /**
   * Ends all certificates of the gateway, so that servers ignore it and its devices go elsewhere, and revokes
   * its join tokens. A gateway that joins under this name later gets a new certificate. Returns the serials
   * that were valid.
   */
  async revoke(gateway: string, actor: string): Promise<string[]> {
    const { store, now, hub, directory, leases, gatewayKeys } = this.#parts;
    const revoked = await store.transaction(async (tx) => {
      // A renewal under way would bring a certificate that this does not see.
      await tx.authorities.lock();
      const at = now();
      const known = await tx.gatewayCertificates.ofGateway(gateway);
      // A restored database may not know the certificate of one that runs.
      const runs = leases.list().some(({ identity }) => identity.gateway === gateway);
      if (known.length === 0 && !runs) {
        throw new Problem('not-found', `Gateway ${gateway} has no certificate.`);
      }
      for (const id of await tx.joinTokens.revokeOpen(gateway, at)) {
        await recordChange(tx, at, actor, 'join-token.revoked', id, { gateway });
      }
      const serials = await revokeAll(tx, gateway, at);
      if (serials.length === 0 && !runs) return serials;
      await recordChange(tx, at, actor, 'gateway.revoked', gateway, { serials }, { name: gateway });
      return serials;
    });
    gatewayKeys.forget();
    hub.notify();
    await leases.refresh();
    directory.gatewaysChangedSoon();
    return revoked;
  }

  /** The newest first. */
  async certificates(gateway: string): Promise<GatewayCertificate[]> {
    return this.#parts.store.gatewayCertificates.ofGateway(gateway);
  }
}

function publicKeyOf(seed: Uint8Array): Uint8Array {
  const der = Buffer.from(pkcs8('Ed25519', seed));
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  return rawKey(createPublicKey(key).export({ format: 'der', type: 'spki' }));
}
