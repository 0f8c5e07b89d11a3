import type { GatewayKeys } from '../../bus/credentials.ts';
import { serverOf } from '../../bus/subjects.ts';
import type { DeviceSecrets } from '../device-secrets.ts';
import type { GatewayCertificate } from '../store/pki-records.ts';
import { type Store, StoreUnavailable } from '../store/store.ts';
import { endOfForgotten } from './forgotten-certificates.ts';

/** How long a certificate counts as valid without asking the store again, milliseconds. */
const FRESH_MS = 1_000;
/** The same while the store is away. */
const KNOWN_MS = 60_000;
/** Certificates remembered. */
const REMEMBERED = 10_000;

interface Parts {
  store: Pick<Store, 'gatewayCertificates' | 'meta'>;
  secrets: Pick<DeviceSecrets, 'gatewayKey' | 'secretFor'>;
}

interface Looked {
  goodUntil: number;
  atMs: number;
}

/**
 * The keys of gateways, and until when their certificates are good. The bus is opened before the store: until
 * `open` nobody is believed.
 */
export class GatewayKeyRing implements GatewayKeys {
  #parts: Parts | undefined;
  /** Of certificates whose keys have authenticated an entry: nobody else can make this grow. */
  readonly #looked = new Map<string, Looked>();
  readonly #looking = new Map<string, Promise<number>>();

  open(parts: Parts): void {
    this.#parts = parts;
  }

  get ownKey(): Uint8Array {
    return this.#opened.secrets.secretFor('programs through Redis');
  }

  keyOf(gateway: string, serial: string): Uint8Array {
    return this.#opened.secrets.gatewayKey(gateway, serial);
  }

  /** Rejects with `StoreUnavailable` if the store is away and the certificate was not seen recently. */
  async goodUntil(gateway: string, serial: string): Promise<number> {
    const name = `${gateway} ${serial}`;
    const known = this.#looked.get(name);
    if (known && performance.now() - known.atMs < FRESH_MS) return known.goodUntil;
    const looking =
      this.#looking.get(name) ??
      this.#look(gateway, serial).finally(() => {
        this.#looking.delete(name);
      });
    this.#looking.set(name, looking);
    try {
      return await looking;
    } catch (error) {
      const isRecent = known && performance.now() - known.atMs < KNOWN_MS;
      if (isRecent && error instanceof StoreUnavailable) return known.goodUntil;
      throw error;
    }
  }

  /** Certificates were revoked, so remembered ones no longer count. */
  forget(): void {
    this.#looked.clear();
  }

  get #opened(): Parts {
    if (!this.#parts) throw new StoreUnavailable('the keys of gateways are not there yet');
    return this.#parts;
  }

  async #look(gateway: string, serial: string): Promise<number> {
    const { store } = this.#opened;
    // An administration server needs no gateway's key, and whoever stole its own is no gateway.
    if (serverOf(gateway) !== null) return 0;
    const found = await store.gatewayCertificates.get(serial);
    const goodUntil = found ? endOf(found, gateway) : await endOfForgotten(store, gateway, serial);
    if (this.#looked.size >= REMEMBERED) this.#looked.clear();
    this.#looked.set(`${gateway} ${serial}`, { goodUntil, atMs: performance.now() });
    return goodUntil;
  }
}

function endOf(certificate: GatewayCertificate, gateway: string): number {
  if (certificate.gateway !== gateway) return 0;
  return Math.min(certificate.expiresAt, certificate.revokedAt ?? Number.POSITIVE_INFINITY);
}
