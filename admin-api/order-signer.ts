import {
  createHmac,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
} from 'node:crypto';
import {
  encodeGatewayMessage,
  encodeOrderBody,
  type GatewayAddress,
  locatedBytes,
  type OrderBody,
  orderBytes,
  passBytes,
} from '../protocol/index.ts';
import { loadSecret, PlainBox, type SecretBox } from './at-rest/secret-box.ts';
import { createSigner, type Signer } from './order-signature.ts';
import type { Meta } from './store/store.ts';

const KEY = 'signing-key';

/**
 * The administration server's Ed25519 key, which every device pins at enrolment (S-2). Made at the first
 * start and kept in the store, so that several administration servers on one database sign with the same key.
 */
export class OrderSigner {
  readonly #signer: Signer;
  /** Raw, 32 bytes. */
  readonly publicKey: Uint8Array;
  readonly #privateKey: KeyObject;

  private constructor(privateKey: KeyObject) {
    this.#privateKey = privateKey;
    this.#signer = createSigner(privateKey);
    const jwk = createPublicKey(privateKey).export({ format: 'jwk' });
    this.publicKey = Buffer.from(jwk.x as string, 'base64url');
  }

  static async load(meta: Meta, box: SecretBox = new PlainBox()): Promise<OrderSigner> {
    const der = await loadSecret(meta, box, { key: KEY, label: 'signing key' }, () => {
      const { privateKey } = generateKeyPairSync('ed25519');
      return privateKey.export({ format: 'der', type: 'pkcs8' });
    });
    return new OrderSigner(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }));
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

  /** A secret of 32 bytes that all servers with this key share and nobody else can know. */
  secretFor(purpose: string): Uint8Array {
    const { d } = this.#privateKey.export({ format: 'jwk' });
    return createHmac('sha256', Buffer.from(d as string, 'base64url'))
      .update(`pushpoint ${purpose}`)
      .digest();
  }

  /** The signed order as the frame that travels to the device. */
  frame(order: OrderBody): Uint8Array {
    return encodeGatewayMessage({ t: 'order', ...this.sign(order) });
  }
}
