import { createPublicKey, type KeyObject } from 'node:crypto';
import { joinedBytes } from '../bus/join-messages.ts';
import {
  encodeGatewayMessage,
  encodeOrderBody,
  type GatewayAddress,
  locatedBytes,
  type OrderBody,
  orderBytes,
  passBytes,
} from '../protocol/index.ts';
import { createSigner, type Signer } from './order-signature.ts';

/** Signs with an Ed25519 key of the administration server's (S-2). */
export class OrderSigner {
  readonly #signer: Signer;
  /** Raw, 32 bytes. */
  readonly publicKey: Uint8Array;

  constructor(privateKey: KeyObject) {
    this.#signer = createSigner(privateKey);
    const jwk = createPublicKey(privateKey).export({ format: 'jwk' });
    this.publicKey = Buffer.from(jwk.x as string, 'base64url');
  }

  sign(order: OrderBody): { body: Uint8Array; sig: Uint8Array } {
    const body = encodeOrderBody(order);
    return { body, sig: this.#signer(orderBytes(body)) };
  }

  /** Of a gateway's pass (S-9). */
  signPass(body: Uint8Array): Uint8Array {
    return this.#signer(passBytes(body));
  }

  /** Of an answer to a device that asked where to go (G-16). */
  signLocated(nonce: Uint8Array, device: string, gateways: readonly GatewayAddress[]): Uint8Array {
    return this.#signer(locatedBytes(nonce, device, gateways));
  }

  /** Of an answer to a gateway that asked to join. */
  signJoined(request: Uint8Array, answer: Uint8Array): Uint8Array {
    return this.#signer(joinedBytes(request, answer));
  }

  /** The signed order as the frame that travels to the device. */
  frame(order: OrderBody): Uint8Array {
    return encodeGatewayMessage({ t: 'order', ...this.sign(order) });
  }
}
