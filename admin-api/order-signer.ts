import { createPublicKey, type KeyObject } from 'node:crypto';
import { joinedBytes } from '../bus/join-messages.ts';
import {
  encodeGatewayMessage,
  encodeOrderBody,
  enrolledBytes,
  locatedBytes,
  type OrderBody,
  orderBytes,
  passBytes,
  refusedBytes,
  type SignedOrder,
} from '../protocol/index.ts';
import { createSigner, type Signer } from './order-signature.ts';

/** Signs with the signing key in use (S-2, K-4). */
export class OrderSigner {
  #signer: Signer;
  #publicKey: Uint8Array;
  #current: readonly Uint8Array[];

  /** `current`: see the getter; only this key when absent. */
  constructor(privateKey: KeyObject, current?: readonly Uint8Array[]) {
    this.#signer = createSigner(privateKey);
    this.#publicKey = publicKeyOf(privateKey);
    this.#current = current ?? [this.#publicKey];
  }

  /**
   * This key, and the one that other servers may already sign with: their signatures need not be replaced.
   */
  get current(): readonly Uint8Array[] {
    return this.#current;
  }

  /** Raw, 32 bytes; another object for another key. */
  get publicKey(): Uint8Array {
    return this.#publicKey;
  }

  /** From now on. */
  use(privateKey: KeyObject, current: readonly Uint8Array[]): void {
    this.#signer = createSigner(privateKey);
    this.#publicKey = publicKeyOf(privateKey);
    this.#current = current;
  }

  sign(order: OrderBody): SignedOrder {
    const body = encodeOrderBody(order);
    return { body, sig: this.#signer(orderBytes(body)) };
  }

  /** Signs a gateway's pass (S-9). */
  signPass(body: Uint8Array): Uint8Array {
    return this.#signer(passBytes(body));
  }

  /** Signs an answer to a device that asked where to go (G-16). */
  signLocated(
    nonce: Uint8Array,
    device: string,
    gateways: readonly string[],
    list: Uint8Array | undefined,
  ): Uint8Array {
    return this.#signer(locatedBytes(nonce, device, gateways, list));
  }

  /** Signs an answer to a gateway that asked to join. */
  signJoined(request: Uint8Array, answer: Uint8Array): Uint8Array {
    return this.#signer(joinedBytes(request, answer));
  }

  /** Signs the answer or the refusal to a device that enrols; `request` is the hash of its request (E-2). */
  signEnrolled(request: Uint8Array, body: Uint8Array): Uint8Array {
    return this.#signer(enrolledBytes(request, body));
  }

  signRefusal(request: Uint8Array, code: string, detail: string): Uint8Array {
    return this.#signer(refusedBytes(request, code, detail));
  }

  /** The signed order as a frame for the device. */
  frame(order: OrderBody): Uint8Array {
    return encodeGatewayMessage({ t: 'order', ...this.sign(order) });
  }
}

function publicKeyOf(privateKey: KeyObject): Uint8Array {
  const { x } = createPublicKey(privateKey).export({ format: 'jwk' });
  return Buffer.from(x as string, 'base64url');
}
