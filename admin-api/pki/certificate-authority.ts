/**
 * The internal authority: it certifies gateways and administration servers that join. Its keys are in the
 * store, encrypted at rest; every administration server on one database uses the same.
 */
import { X509Certificate } from 'node:crypto';
import { isEncrypted, PlainBox, type SecretBox } from '../at-rest/secret-box.ts';
import type { Authority, AuthorityState, GatewayCertificate } from '../store/pki-records.ts';
import type { Store } from '../store/store.ts';
import {
  CERTIFICATE_LIFE_MS,
  importAuthority,
  issueCertificate,
  makeAuthority,
  newSerial,
  type readRequest,
} from './issued-certificates.ts';

const DAY_MS = 86_400_000;
const AUTHORITY_LIFE_MS = 3_650 * DAY_MS;

export interface AuthorityParts {
  store: Store;
  /** Keys are stored unencrypted when absent. */
  secretBox?: SecretBox | undefined;
  installation: { id: string };
  now: () => number;
}

export interface Issued {
  record: GatewayCertificate;
  /** X.509 in DER. */
  certificate: Uint8Array;
  /** Certificates of all trusted authorities, in DER. */
  trusted: Uint8Array[];
  /** Their numbers as text; the one that signs comes first. */
  trusts: string;
}

type Request = NonNullable<Awaited<ReturnType<typeof readRequest>>>;

/**
 * `steady`: one authority. `introduced`: the next one exists and is trusted, but not used yet. `used`: it
 * signs, and the previous one is still trusted.
 */
export type RotationPhase = 'steady' | 'introduced' | 'used';

/** When the authorities last changed, and their highest number so far. */
const CHANGED = 'authorities-changed';
const LAST_NUMBER = 'authorities-last-number';

export class CertificateAuthority {
  readonly #parts: AuthorityParts & { secretBox: SecretBox };

  constructor(parts: AuthorityParts) {
    this.#parts = { ...parts, secretBox: parts.secretBox ?? new PlainBox() };
  }

  /** Creates the first key if there is none. Encrypts a key that was stored unencrypted. */
  async ensureFirst(): Promise<void> {
    const { store, secretBox } = this.#parts;
    const stored = await store.authorities.all();
    if (stored.length === 0) await store.authorities.create(await this.#make(1, 'current'));
    if (!secretBox.encrypts) return;
    for (const authority of stored) {
      if (isEncrypted(authority.sealedKey)) continue;
      const key = await this.#keyOf(authority);
      await store.authorities.setSealedKey(
        authority.number,
        await secretBox.seal(label(authority.number), key),
      );
    }
  }

  /**
   * Issues a certificate for the key of this request, in the transaction `tx`, which writes its record.
   * Earlier certificates of the gateway stay valid until they expire.
   */
  async issue(tx: Store, gateway: string, request: Request): Promise<Issued> {
    const authorities = await tx.authorities.all();
    const signing = signingOf(authorities);
    const issuedAt = this.#parts.now();
    const expiresAt = Math.min(issuedAt + CERTIFICATE_LIFE_MS, signing.expiresAt);
    const times = { issuedAt, expiresAt };
    const { keyHash } = request;
    const serial = newSerial(issuedAt);
    const authority = signing.number;
    const record: GatewayCertificate = { serial, gateway, keyHash, authority, ...times, revokedAt: null };
    await tx.gatewayCertificates.create(record);
    return this.#signed(authorities, record, request);
  }

  /** Issues the certificate of this record again, for a gateway that did not get the answer. */
  async issueAgain(tx: Store, record: GatewayCertificate, request: Request): Promise<Issued> {
    return this.#signed(await tx.authorities.all(), record, request);
  }

  /** Number of the trusted authority that signed this certificate; `null` for none. */
  async issuerOf(tx: Store, certificate: X509Certificate): Promise<number | null> {
    const authorities = await tx.authorities.all();
    const issuer = authorities.find((authority) => {
      const own = new X509Certificate(authority.certificate);
      return certificate.checkIssued(own) && certificate.verify(own.publicKey);
    });
    return issuer?.number ?? null;
  }

  /** Certificates issued earlier do not reflect the current authorities. */
  async changedAt(store: Store = this.#parts.store): Promise<number> {
    return authoritiesChangedAt(store);
  }

  /** Time until the signing authority expires. */
  async daysLeft(): Promise<number> {
    const { expiresAt } = signingOf(await this.#parts.store.authorities.all());
    return (expiresAt - this.#parts.now()) / DAY_MS;
  }

  /** In a transaction that holds the lock of authorities. */
  async introduceNext(tx: Store): Promise<void> {
    const authorities = await tx.authorities.all();
    const last = Number((await tx.meta.get(LAST_NUMBER)) ?? 0);
    const number = Math.max(last, ...authorities.map((authority) => authority.number)) + 1;
    await tx.authorities.create(await this.#make(number, 'next'));
    await tx.meta.set(LAST_NUMBER, String(number));
    await this.#changed(tx);
  }

  /** From `introduced` to `used`. */
  async useNext(tx: Store): Promise<void> {
    await this.#become(tx, { next: 'current', current: 'old' });
  }

  /** From `used` to `introduced`. */
  async useOld(tx: Store): Promise<void> {
    await this.#become(tx, { current: 'next', old: 'current' });
  }

  /** The authority that does not sign is no longer trusted. */
  async drop(tx: Store, state: 'next' | 'old'): Promise<void> {
    for (const authority of await tx.authorities.all()) {
      if (authority.state === state) await tx.authorities.delete(authority.number);
    }
    await this.#changed(tx);
  }

  async #become(tx: Store, states: Partial<Record<AuthorityState, AuthorityState>>): Promise<void> {
    for (const { number, state } of await tx.authorities.all()) {
      await tx.authorities.setState(number, states[state] ?? state);
    }
    await this.#changed(tx);
  }

  async #changed(tx: Store): Promise<void> {
    await tx.meta.set(CHANGED, String(Math.floor(this.#parts.now())));
  }

  async #signed(authorities: Authority[], record: GatewayCertificate, request: Request): Promise<Issued> {
    const signing = signingOf(authorities);
    const keys = await importAuthority(signing.certificate, await this.#keyOf(signing));
    const certificate = await issueCertificate(keys, { ...record, publicKey: request.publicKey });
    const trusted = authorities.map((authority) => authority.certificate);
    return { record, certificate, trusted, trusts: trustsOf(authorities) };
  }

  async #make(number: number, state: Authority['state']): Promise<Authority> {
    const { secretBox, installation, now } = this.#parts;
    const createdAt = now();
    const expiresAt = createdAt + AUTHORITY_LIFE_MS;
    const name = `Pushpoint ${installation.id} authority ${number}`;
    const { certificate, pkcs8 } = await makeAuthority({ name, createdAt, expiresAt });
    const sealedKey = await secretBox.seal(label(number), pkcs8);
    return { number, state, certificate, sealedKey, createdAt, expiresAt };
  }

  #keyOf({ number, sealedKey }: Authority): Promise<Buffer> {
    return this.#parts.secretBox.open(label(number), sealedKey);
  }
}

/** Certificates issued earlier do not reflect the current authorities. */
export async function authoritiesChangedAt({ meta }: Pick<Store, 'meta'>): Promise<number> {
  return Number((await meta.get(CHANGED)) ?? 0);
}

function label(number: number): string {
  return `key of authority ${number}`;
}

function signingOf(authorities: readonly Authority[]): Authority {
  const signing = authorities.find(({ state }) => state === 'current');
  if (!signing) throw new Error('the internal authority has no current key');
  return signing;
}

/** The authorities that a gateway must trust, as text: equal sets have equal texts. */
function trustsOf(authorities: readonly Authority[]): string {
  const signing = signingOf(authorities);
  const others = authorities.filter(({ number }) => number !== signing.number);
  return [signing, ...others].map(({ number }) => number).join(',');
}

export function phaseOf(authorities: readonly Authority[]): RotationPhase {
  if (authorities.some(({ state }) => state === 'next')) return 'introduced';
  return authorities.some(({ state }) => state === 'old') ? 'used' : 'steady';
}
