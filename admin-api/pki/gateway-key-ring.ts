import type { GatewayKeys } from '../../bus/credentials.ts';
import type { DeviceSecrets } from '../device-secrets.ts';
import { type Store, StoreUnavailable } from '../store/store.ts';

/** How long a certificate counts as valid without asking the store again, milliseconds. */
const FRESH_MS = 1_000;
/** The same while the store cannot be asked. */
const KNOWN_MS = 60_000;
/** Serials remembered, unknown ones included: whoever writes to Redis makes some up. */
const REMEMBERED = 10_000;

interface Parts {
  store: Pick<Store, 'gatewayCertificates'>;
  secrets: Pick<DeviceSecrets, 'gatewayKey' | 'secretFor'>;
  /** Milliseconds since the Unix epoch. */
  now: () => number;
}

interface Looked {
  key: Uint8Array | null;
  atMs: number;
}

/**
 * The keys of gateways whose certificates are valid now. The bus is opened before the store: until `open`
 * nobody is believed.
 */
export class GatewayKeyRing implements GatewayKeys {
  #parts: Parts | undefined;
  readonly #looked = new Map<string, Looked>();
  readonly #looking = new Map<string, Promise<Uint8Array | null>>();

  open(parts: Parts): void {
    this.#parts = parts;
  }

  get ownKey(): Uint8Array {
    if (!this.#parts) throw new StoreUnavailable('the keys of gateways are not there yet');
    return this.#parts.secrets.secretFor('programs through Redis');
  }

  /** Rejects with `StoreUnavailable` when the store is away, and the certificate was not seen lately. */
  async keyOf(gateway: string, serial: string): Promise<Uint8Array | null> {
    const name = `${gateway} ${serial}`;
    const known = this.#looked.get(name);
    if (known && performance.now() - known.atMs < FRESH_MS) return known.key;
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
      if (isRecent && error instanceof StoreUnavailable) return known.key;
      throw error;
    }
  }

  /** Certificates were revoked: what was remembered is not true any more. */
  forget(): void {
    this.#looked.clear();
  }

  async #look(gateway: string, serial: string): Promise<Uint8Array | null> {
    if (!this.#parts) throw new StoreUnavailable('the keys of gateways are not there yet');
    const { store, secrets, now } = this.#parts;
    const found = await store.gatewayCertificates.get(serial);
    const isValid = found?.gateway === gateway && found.revokedAt === null && found.expiresAt > now();
    const key = isValid ? secrets.gatewayKey(gateway, serial) : null;
    if (this.#looked.size >= REMEMBERED) this.#looked.clear();
    this.#looked.set(`${gateway} ${serial}`, { key, atMs: performance.now() });
    return key;
  }
}
