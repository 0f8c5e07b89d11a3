import { randomBytes } from 'node:crypto';
import { nodeHpke } from '../protocol/hpke-node.ts';
import {
  AUTHENTICATED_BYTES_MAX,
  deviceSecretBytes,
  type Encrypted,
  encryptSecret,
  LIMITS,
  RESULT_KEY_BYTES,
  resultBytes,
  SECRET_KEY_BYTES,
  statusBytes,
  WRAP_KEY_BYTES,
} from '../protocol/index.ts';
import { loadSecret, PlainBox, type SecretBox } from './at-rest/secret-box.ts';
import { createMac, type Mac, sameMac } from './message-code.ts';
import { ResultKeys } from './result-keys.ts';
import type { Meta } from './store/store.ts';

const MASTER = 'master-secret';

/** Resolves with the existing one, if there is one. */
export function keepMaster(meta: Meta, master: Uint8Array): Promise<string> {
  return meta.setOnce(MASTER, Buffer.from(master).toString('base64'));
}

/**
 * The secret that each device shares with its administration server. It is derived from one master
 * secret and the device's id and generation, so nothing is stored per device. The first start creates the
 * master secret in the store, so all administration servers on one database derive the same secrets.
 */
export class DeviceSecrets {
  readonly #master: Uint8Array;
  readonly #mac: Mac;
  readonly #scratch = new Uint8Array(AUTHENTICATED_BYTES_MAX);
  readonly #code = new Uint8Array(LIMITS.macBytes);
  #resultKeys: ResultKeys | undefined;

  /** `master`: 32 bytes. */
  constructor(master: Uint8Array, mac = createMac()) {
    this.#master = master;
    this.#mac = mac;
  }

  /** Encrypts a secret that was stored before there was a key for `box`. */
  static async load(meta: Meta, box: SecretBox = new PlainBox()): Promise<DeviceSecrets> {
    const make = () => randomBytes(LIMITS.secretBytes);
    return new DeviceSecrets(await loadSecret(meta, box, { key: MASTER, label: 'master secret' }, make));
  }

  of(device: string, generation: number): Uint8Array {
    return this.#mac(this.#master, deviceSecretBytes(device, generation, this.#scratch));
  }

  /** The key with which a gateway authenticates what it writes under this certificate, 32 bytes. */
  gatewayKey(gateway: string, serial: string): Uint8Array {
    return this.#mac(this.#master, Buffer.from(`pushpoint.v1 gateway\0${gateway}\0${serial}`));
  }

  /** A secret of 32 bytes that only the servers on this database share. */
  secretFor(purpose: string): Uint8Array {
    return this.#mac(this.#master, Buffer.from(`pushpoint ${purpose}`));
  }

  /** Encrypts these bytes for this device alone, with its wrap key; `about` is the associated data. */
  wrap(
    { id, generation }: { id: string; generation: number },
    bytes: Uint8Array,
    about: Uint8Array,
  ): Promise<Encrypted> {
    return encryptSecret(nodeHpke, this.wrapKey(id, generation), bytes, about);
  }

  /** Seals keys of groups for the device. */
  wrapKey(device: string, generation: number): Uint8Array {
    return this.#mac(this.of(device, generation), WRAP_KEY_BYTES);
  }

  /** Seals secret commands to the device alone, and its results of all secret commands. */
  secretKey(device: string, generation: number): Uint8Array {
    return this.#mac(this.of(device, generation), SECRET_KEY_BYTES);
  }

  /** Whether the device of this generation made this result, or this status: a result is of a command. */
  made(
    report: { device: string; command?: string; body: Uint8Array; mac: Uint8Array },
    generation: number,
  ): boolean {
    const { device, command, body, mac } = report;
    const key = this.#resultKey(device, generation);
    const bytes =
      command === undefined
        ? statusBytes(device, body, this.#scratch)
        : resultBytes(device, command, body, this.#scratch);
    return sameMac(this.#mac(key, bytes, this.#code), mac);
  }

  /** Used at once: it may change with the next call. */
  #resultKey(device: string, generation: number): Uint8Array {
    this.#resultKeys ??= new ResultKeys();
    const known = this.#resultKeys.find(device, generation);
    if (known !== null) return known;
    const key = this.#mac(this.of(device, generation), RESULT_KEY_BYTES);
    this.#resultKeys.keep(device, generation, key);
    return key;
  }
}
