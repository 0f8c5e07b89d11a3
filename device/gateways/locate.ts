/** Asking the administration server where to go, when no gateway admits the device (PROTOCOL.md, G-16). */
import {
  gatewayNames,
  LIMITS,
  locateBytes,
  locatedBytes,
  type SignedOrder,
  type SignedServerKeys,
} from '../../protocol/index.ts';
import { keyDocuments } from '../keys/key-documents.ts';
import type { TrustedKeys } from '../keys/trusted-keys.ts';
import { answeredOrder } from '../platform/answered-orders.ts';
import { ApiError, apiPost, type Fetch } from '../platform/api-request.ts';
import { fromBase64url, toBase64url } from '../platform/base64url.ts';
import type { DeviceCrypto, DeviceKey } from '../platform/crypto.ts';
import type { DeviceIdentity } from '../storage/store.ts';

export interface LocateOptions {
  identity: DeviceIdentity;
  /** Base URL of its HTTP API. */
  server: string;
  key: DeviceKey;
  crypto: DeviceCrypto;
  trusted: Pick<TrustedKeys, 'verify'>;
  /** Takes up the documents of server keys that the answer brings (K-7). */
  follow(documents: readonly SignedServerKeys[]): Promise<void>;
  signal: AbortSignal;
  fetch?: Fetch | undefined;
}

export interface Located {
  /** The device's membership, and the list of gateways if there is one; not verified each. */
  orders: SignedOrder[];
  /** Names, the best first. */
  gateways: string[];
}

/** Where the device may go, answered to this question. Throws `ApiError`. */
export async function locate(options: LocateOptions): Promise<Located> {
  const { identity, server, key, crypto, trusted, follow, signal, fetch } = options;
  const { deviceId: device } = identity;
  const nonce = globalThis.crypto.getRandomValues(new Uint8Array(LIMITS.nonceBytes));
  const question = { device, nonce: toBase64url(nonce) };
  const ask = (body: object) => apiPost({ server, path: 'v1/locate', body, signal, fetch });
  const { challenge } = await ask(question);
  const proof = await crypto.sign(key.privateKey, locateBytes(nonce, String(challenge), device));
  const answer = await ask({ ...question, challenge, proof: toBase64url(proof) });
  try {
    const list = answer.list === undefined ? undefined : answeredOrder(answer.list);
    const gateways = gatewayNames(answer, 'gateways');
    await follow(keyDocuments(answer.keys));
    const signed = locatedBytes(nonce, device, gateways, list?.body);
    if (!(await trusted.verify(signed, fromBase64url(answer.sig, LIMITS.signatureBytes)))) {
      throw new TypeError('signature');
    }
    return { orders: [answeredOrder(answer.membership), ...(list ? [list] : [])], gateways };
  } catch (error) {
    throw new ApiError(`the answer is not as G-16 says: ${(error as Error).message}`, { temporary: true });
  }
}
