/**
 * Encrypts what secret commands leave in the store: arguments, outcomes and keys of groups. The key is
 * derived from the master secret.
 */
import { createHmac } from 'node:crypto';
import { decrypt, encrypt, joined, split } from '../at-rest/aes-gcm.ts';
import type { GroupKeyName } from '../store/store.ts';

/** What a device returned for a secret command. */
export interface SecretOutcome {
  reason?: string;
  /** JSON. */
  data?: unknown;
}

export class LedgerSecrets {
  readonly #key: Uint8Array;

  /** `key`: 32 bytes. */
  constructor(key: Uint8Array) {
    this.#key = key;
  }

  /** `args`: encoded. */
  sealArgs(command: string, args: Uint8Array): string {
    return this.#seal(`args ${command}`, args);
  }

  openArgs(command: string, sealed: string): Uint8Array {
    return this.#open(`args ${command}`, sealed);
  }

  sealOutcome(command: string, device: string, outcome: SecretOutcome): string {
    return this.#seal(`outcome ${command} ${device}`, Buffer.from(JSON.stringify(outcome)));
  }

  openOutcome(command: string, device: string, sealed: string): SecretOutcome {
    return JSON.parse(this.#open(`outcome ${command} ${device}`, sealed).toString());
  }

  sealGroupKey(name: GroupKeyName, key: Uint8Array): string {
    return this.#seal(`group key ${textOf(name)}`, key);
  }

  openGroupKey(name: GroupKeyName, sealed: string): Uint8Array {
    return this.#open(`group key ${textOf(name)}`, sealed);
  }

  /** A keyed hash, 32 bytes: without the key it reveals only whether two texts are equal. */
  codeOf(text: string): Uint8Array {
    return createHmac('sha256', this.#key).update(`code\0${text}`).digest();
  }

  #seal(about: string, plain: Uint8Array): string {
    return joined(encrypt(this.#key, plain, Buffer.from(about))).toString('base64');
  }

  #open(about: string, sealed: string): Buffer {
    return decrypt(this.#key, split(Buffer.from(sealed, 'base64')), Buffer.from(about));
  }
}

function textOf({ group, epoch, number }: GroupKeyName): string {
  return `${group} ${epoch} ${number}`;
}
