import { createHash } from 'node:crypto';
import {
  decodeServerKeys,
  type Edition,
  editionOf,
  encodeGatewayMessage,
  isNewer,
  NO_EDITION,
  openServerKeys,
  ProtocolError,
  type ServerKeys,
  type SignedServerKeys,
  sameDocuments,
  succeedServerKeys,
  type VerifySignature,
} from '../../protocol/index.ts';

interface Carried {
  keys: ServerKeys;
  /** Encoded `keys`. */
  frame: Uint8Array;
}

/**
 * The server keys that this gateway carries to devices (K-5). With the installation's fingerprint it takes
 * only what follows from it, and nothing older than it had; otherwise it carries what it finds.
 */
export class CarriedKeys {
  readonly #fingerprint: Uint8Array | null;
  readonly #verify: VerifySignature;
  #documents: readonly SignedServerKeys[] = [];
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
    if (sameDocuments(documents, this.#documents)) return false;
    const before = this.edition;
    const keys =
      this.#fingerprint === null
        ? documents.map(({ body }) => decoded(body))
        : await this.#chain(documents, this.#fingerprint);
    const carried = documents.flatMap((document, index) => {
      const its = keys[index];
      return its ? [{ keys: its, frame: encodeGatewayMessage({ t: 'keys', ...document }) }] : [];
    });
    const newest = carried.at(-1);
    if (this.#fingerprint !== null && (!newest || isNewer(before, editionOf(newest.keys)))) return false;
    this.#documents = documents;
    this.#carried = carried;
    return isNewer(this.edition, before);
  }

  /** From the document of the root with this fingerprint on, each by the one before it. */
  async #chain(
    documents: readonly SignedServerKeys[],
    fingerprint: Uint8Array,
  ): Promise<(ServerKeys | null)[]> {
    const chain: (ServerKeys | null)[] = [];
    let last: ServerKeys | null = null;
    for (const document of documents) {
      const keys: ServerKeys | null = last
        ? await succeedServerKeys(last, document, this.#verify)
        : await openServerKeys(document, this.#verify);
      const ours: ServerKeys | null =
        keys && (last !== null || isPrintOf(fingerprint, keys.root)) ? keys : null;
      chain.push(ours);
      last = ours ?? last;
    }
    return chain;
  }
}

function isPrintOf(fingerprint: Uint8Array, root: Uint8Array): boolean {
  return createHash('sha256').update(root).digest().equals(fingerprint);
}

function decoded(body: Uint8Array): ServerKeys | null {
  try {
    return decodeServerKeys(body);
  } catch (error) {
    if (error instanceof ProtocolError) return null;
    throw error;
  }
}
