import { X509Certificate } from 'node:crypto';
import type { Lease } from '../../bus/bus.ts';
import { type CertificateAuthority, phaseOf, type RotationPhase } from '../pki/certificate-authority.ts';
import { runningServers } from '../pki/running-servers.ts';
import { Problem } from '../problems.ts';
import type { Authority } from '../store/pki-records.ts';
import type { Store } from '../store/store.ts';
import { recordChange, type ServiceParts } from './service-parts.ts';

export interface AuthorityView {
  phase: RotationPhase;
  /** In the order of their numbers; `fingerprint`: SHA-256 of the certificate, hexadecimal with colons. */
  authorities: (Pick<Authority, 'number' | 'state' | 'createdAt' | 'expiresAt'> & { fingerprint: string })[];
  /** Running gateways and servers that have not applied it yet: the next phase waits for them. */
  waitingFor: string[];
}

type AuthorityServiceParts = Pick<ServiceParts, 'store' | 'now' | 'directory' | 'hub'> & {
  leases: { list(): readonly Lease[] };
  authority: CertificateAuthority;
};

type Step = 'rotate' | 'advance' | 'rollback';

/**
 * Rotates the internal authority in phases. Each step waits until every running gateway and server has
 * applied the previous one; one that is away renews when it returns. Every method throws `Problem`.
 */
export class AuthorityService {
  readonly #parts: AuthorityServiceParts;

  constructor(parts: AuthorityServiceParts) {
    this.#parts = parts;
  }

  async show(): Promise<AuthorityView> {
    const authorities = await this.#parts.store.authorities.all();
    return {
      phase: phaseOf(authorities),
      authorities: authorities.map(({ number, state, certificate, createdAt, expiresAt }) => ({
        ...{ number, state, createdAt, expiresAt },
        fingerprint: new X509Certificate(certificate).fingerprint256,
      })),
      waitingFor: await this.#waitingFor(),
    };
  }

  /** Creates the next authority, which gateways trust from now on. */
  rotate(actor: string): Promise<AuthorityView> {
    return this.#step('rotate', actor, async (tx, phase) => {
      if (phase !== 'steady')
        throw new Problem('conflict', 'A rotation is under way: advance or roll it back.');
      await this.#parts.authority.introduceNext(tx);
    });
  }

  /** Goes to the next phase: the next authority signs; then the old one is dropped, for good. */
  advance(actor: string): Promise<AuthorityView> {
    return this.#step('advance', actor, async (tx, phase) => {
      if (phase === 'steady') throw new Problem('conflict', 'No rotation is under way.');
      if (phase === 'introduced') await this.#parts.authority.useNext(tx);
      else await this.#parts.authority.drop(tx, 'old');
    });
  }

  /** Goes back to the previous phase. */
  rollback(actor: string): Promise<AuthorityView> {
    return this.#step('rollback', actor, async (tx, phase) => {
      if (phase === 'steady') throw new Problem('conflict', 'No rotation is under way.');
      if (phase === 'used') await this.#parts.authority.useOld(tx);
      else await this.#parts.authority.drop(tx, 'next');
    });
  }

  async #step(
    step: Step,
    actor: string,
    change: (tx: Store, phase: RotationPhase) => Promise<void>,
  ): Promise<AuthorityView> {
    const { store, now, directory, hub } = this.#parts;
    await store.transaction(async (tx) => {
      await tx.authorities.lock();
      const phase = phaseOf(await tx.authorities.all());
      const waiting = await this.#waitingFor(tx);
      if (waiting.length > 0) {
        throw new Problem('conflict', `Programs that have not applied the last step: ${waiting.join(', ')}.`);
      }
      await change(tx, phase);
      const after = phaseOf(await tx.authorities.all());
      const detail = { phase: after };
      await recordChange(tx, now(), actor, `authority.${step}`, 'authority', detail, detail);
    });
    hub.notify();
    directory.gatewaysChangedSoon();
    return this.show();
  }

  /** Those with a certificate from before the last change. */
  async #waitingFor(tx: Store = this.#parts.store): Promise<string[]> {
    const { authority, leases, now } = this.#parts;
    const changedAt = await authority.changedAt(tx);
    const running = [
      ...leases.list().map(({ identity, serial }) => ({ name: identity.gateway, serial })),
      ...(await runningServers(tx.meta, now())).map(({ name, serial }) => ({
        name: `server ${name}`,
        serial,
      })),
    ];
    const waiting = new Set<string>();
    for (const { name, serial } of running) {
      if (serial === undefined) continue;
      const certificate = await tx.gatewayCertificates.get(serial);
      // It renews nothing any more, and holds nobody up.
      if (certificate !== null && certificate.revokedAt !== null) continue;
      if (certificate === null || certificate.issuedAt < changedAt) waiting.add(name);
    }
    return [...waiting].sort();
  }
}
