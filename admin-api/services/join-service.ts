import { createPrivateKey, createPublicKey, randomBytes } from 'node:crypto';
import type { Lease } from '../../bus/bus.ts';
import { fingerprintText } from '../../bus/join-messages.ts';
import { called, nameOf, serverOf, serverSubject } from '../../bus/subjects.ts';
import { pkcs8, rawKey, tokenText } from '../../protocol/index.ts';
import { newId } from '../identifiers.ts';
import { revokeAll } from '../pki/forgotten-certificates.ts';
import type { JoinAnswers } from '../pki/join-answers.ts';
import type { ReadJoin } from '../pki/join-requests.ts';
import { runningServers } from '../pki/running-servers.ts';
import { Problem } from '../problems.ts';
import type { GatewayCertificate, JoinToken } from '../store/pki-records.ts';
import { recordChange, type ServiceParts } from './service-parts.ts';

const HOUR_MS = 3_600_000;
/** Created at a start, for gateways that may start later. */
const FIRST_TOKEN_S = 7 * 86_400;

/** A gateway, or an administration server, that waits for approval. */
export interface JoinRequestView {
  id: string;
  /** The fingerprint that it shows. */
  fingerprint: string;
  /** Its name. */
  name: string;
  askedAt: number;
  /** Whether it asks this installation. */
  ours: boolean;
}

/** An administration server that joined. */
export interface ServerView {
  name: string;
  /** Whether it said so within the last minutes. */
  running: boolean;
  /** The newest. */
  certificate: GatewayCertificate;
}

type JoinServiceParts = Pick<ServiceParts, 'store' | 'now' | 'hub' | 'directory'> & {
  joinAnswers: Pick<JoinAnswers, 'awaitingApproval' | 'approve'>;
  serverKeys: { readonly fingerprint: Uint8Array };
  leases: { list(): readonly Lease[]; refresh(): Promise<void> };
  gatewayKeys: { forget(): void };
};

/** What may join: nobody lets a server in who meant a gateway, for servers get the key of the secrets. */
export type Joining = 'gateways' | 'servers';

/** Issues and revokes certificates of gateways and administration servers. Every method throws `Problem`. */
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
    return this.#createToken('ppg1', gateway, ttl, actor);
  }

  /** The same, for an administration server. Whoever uses it gets the key of the installation's secrets. */
  async createServerToken(
    { server, ttl }: { server: string; ttl?: number },
    actor: string,
  ): Promise<JoinToken & { token: string }> {
    return this.#createToken('pps1', serverSubject(server), ttl, actor);
  }

  async #createToken(
    kind: 'ppg1' | 'pps1',
    gateway: string,
    ttl: number | undefined,
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
      await recordChange(tx, at, actor, 'join-token.created', id, { ...whose(gateway), expiresAt });
    });
    return { ...record, token: tokenText(kind, { id, seed, fingerprint: this.fingerprint }) };
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
      await recordChange(tx, at, actor, 'join-token.revoked', id, whose(token.gateway));
    });
  }

  async requests(of: Joining = 'gateways'): Promise<JoinRequestView[]> {
    return (await this.#waiting(of)).map((join) => this.#viewOf(join));
  }

  async #waiting(of: Joining): Promise<ReadJoin[]> {
    const waiting = await this.#parts.joinAnswers.awaitingApproval();
    return waiting.filter(({ request }) => (serverOf(request.gateway) === null) === (of === 'gateways'));
  }

  #viewOf({ id, request }: ReadJoin): JoinRequestView {
    return {
      id,
      fingerprint: fingerprintText(id),
      name: nameOf(request.gateway),
      askedAt: request.at,
      ours: Buffer.from(request.fingerprint).equals(this.fingerprint),
    };
  }

  /** It gets its certificate soon after; a server gets the key of the secrets as well. */
  async approve(id: string, actor: string, of: Joining = 'gateways'): Promise<JoinRequestView> {
    const { joinAnswers, hub, directory } = this.#parts;
    const join = (await this.#waiting(of)).find((waiting) => waiting.id === id);
    if (!join) {
      const who = of === 'gateways' ? 'gateway' : 'server';
      throw new Problem('not-found', `No ${who} waits with this request; a ${who} repeats its request.`);
    }
    const view = this.#viewOf(join);
    if (!view.ours) {
      const who = called(join.request.gateway);
      throw new Problem('conflict', `The ${who} asks an installation with another fingerprint.`);
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

  /**
   * Ends all certificates of the administration server, and revokes its join tokens. It keeps what it knows:
   * the key of the secrets, and the passwords of database and Redis. Returns the serials that were valid.
   */
  async revokeServer(server: string, actor: string): Promise<string[]> {
    const { store, now, hub } = this.#parts;
    const subject = serverSubject(server);
    const revoked = await store.transaction(async (tx) => {
      await tx.authorities.lock();
      const at = now();
      if ((await tx.gatewayCertificates.ofGateway(subject)).length === 0) {
        throw new Problem('not-found', `Server ${server} has no certificate.`);
      }
      for (const id of await tx.joinTokens.revokeOpen(subject, at)) {
        await recordChange(tx, at, actor, 'join-token.revoked', id, { server });
      }
      const serials = await revokeAll(tx, subject, at);
      if (serials.length === 0) return serials;
      await recordChange(tx, at, actor, 'server.revoked', server, { serials }, { name: server });
      return serials;
    });
    hub.notify();
    return revoked;
  }

  /** The newest certificate of each administration server that joined, in the order of their names. */
  async servers(): Promise<ServerView[]> {
    const { store, now } = this.#parts;
    const running = new Set((await runningServers(store.meta, now())).map(({ name }) => name));
    const newest = new Map<string, GatewayCertificate>();
    for (const certificate of await store.gatewayCertificates.ofServers()) {
      const name = nameOf(certificate.gateway);
      if (!newest.has(name)) newest.set(name, certificate);
    }
    return [...newest]
      .map(([name, certificate]) => ({ name, running: running.has(name), certificate }))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** The newest first. */
  async certificates(gateway: string): Promise<GatewayCertificate[]> {
    return this.#parts.store.gatewayCertificates.ofGateway(gateway);
  }
}

function whose(subject: string): { gateway: string } | { server: string } {
  const server = serverOf(subject);
  return server === null ? { gateway: subject } : { server };
}

function publicKeyOf(seed: Uint8Array): Uint8Array {
  const der = Buffer.from(pkcs8('Ed25519', seed));
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  return rawKey(createPublicKey(key).export({ format: 'der', type: 'spki' }));
}
