import { createHash } from 'node:crypto';
import {
  type Edition,
  editionOf,
  encodeGatewayMessage,
  type FollowedKeys,
  followServerKeys,
  isNewer,
  NO_EDITION,
  readServerKeys,
  type ServerKeys,
  type SignedServerKeys,
  sameDocuments,
  type VerifySignature,
} from '../../protocol/index.ts';

interface Carried {
  keys: ServerKeys;
  /** Encoded `keys`. */
  frame: Uint8Array;
}

/**
 * The server keys that this gateway carries to devices (K-5). With the installation's fingerprint it accepts
 * only documents in the chain from that root, and none older than its own; without it, it carries what it
 * finds.
 */
export class CarriedKeys {
  readonly #fingerprint: Uint8Array | null;
  readonly #verify: VerifySignature;
  /** Those that were looked at last, whatever became of them: each look costs signature checks. */
  #seen: readonly SignedServerKeys[] = [];
  #carried: readonly Carried[] = [];

  constructor(fingerprint: Uint8Array | null, verify: VerifySignature) {
    this.#fingerprint = fingerprint;
    this.#verify = verify;
  }

  /** Of the newest. */
  get edition(): Edition {
    const newest = this.#carried.at(-1);
    return newest ? editionOf(newest.keys) : NO_EDITION;
  }

  /** What signs for the installation; none before its keys were read. */
  get signing(): readonly Uint8Array[] {
    return this.#carried.at(-1)?.keys.signing ?? [];
  }

  /** `keys` for a device that holds this edition, in the order in which it takes them. */
  after(held: Edition): Uint8Array[] {
    return this.#carried.filter(({ keys }) => isNewer(editionOf(keys), held)).map(({ frame }) => frame);
  }

  /** The directory's documents; whether there is a newer one among them. */
  async take(documents: readonly SignedServerKeys[]): Promise<boolean> {
    if (sameDocuments(documents, this.#seen)) return false;
    const before = this.edition;
    const followed = await this.#follow(documents);
    const newest = followed.at(-1);
    this.#seen = documents;
    if (this.#fingerprint !== null && (!newest || isNewer(before, editionOf(newest.keys)))) return false;
    this.#carried = followed.map(({ keys, signed }) => ({
      ...{ keys, frame: encodeGatewayMessage({ t: 'keys', ...signed }) },
    }));
    return isNewer(this.edition, before);
  }

  /** With what came before the root that it trusts: devices may hold that still. */
  async #follow(documents: readonly SignedServerKeys[]): Promise<FollowedKeys[]> {
    const fingerprint = this.#fingerprint;
    if (fingerprint === null) {
      return documents.flatMap((signed) => {
        const keys = readServerKeys(signed.body);
        return keys ? [{ keys, signed }] : [];
      });
    }
    const isOurs = (root: Uint8Array) => isPrintOf(fingerprint, root);
    const whole = await followServerKeys(documents, () => true, this.#verify);
    // From that root on, nothing but what it signed for comes.
    if (whole.some(({ keys }) => isOurs(keys.root))) return whole;
    return followServerKeys(documents, isOurs, this.#verify);
  }
}

function isPrintOf(fingerprint: Uint8Array, root: Uint8Array): boolean {
  return createHash('sha256').update(root).digest().equals(fingerprint);
}
