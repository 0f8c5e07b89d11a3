/** Asking the administration server where to go, when no gateway admits the device (PROTOCOL.md, G-16). */
import {
  type GatewayAddress,
  LIMITS,
  locateBytes,
  locatedBytes,
  type SignedServerKeys,
} from '../../protocol/index.ts';
import { keyDocuments } from '../keys/key-documents.ts';
import type { TrustedKeys } from '../keys/trusted-keys.ts';
import type { DeviceLog } from '../log.ts';
import { ApiError, apiPost, type Fetch } from '../platform/api-request.ts';
import { fromBase64url, toBase64url } from '../platform/base64url.ts';
import type { DeviceCrypto, DeviceKey } from '../platform/crypto.ts';
import type { DeviceIdentity } from '../storage/store.ts';
import { answeredGateways, usableGateways } from './answered.ts';

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
  log: DeviceLog;
}

/** The gateways the device may use, the best first; none where there is none yet. Throws `ApiError`. */
export async function locate(options: LocateOptions): Promise<GatewayAddress[]> {
  const { identity, server, key, crypto, trusted, follow, signal, fetch, log } = options;
  const { deviceId: device } = identity;
  const nonce = globalThis.crypto.getRandomValues(new Uint8Array(LIMITS.nonceBytes));
  const question = { device, nonce: toBase64url(nonce) };
  const ask = (body: object) => apiPost({ server, path: 'v1/locate', body, signal, fetch });
  const { challenge } = await ask(question);
  if (typeof challenge !== 'string')
    throw new ApiError('the answer is not as G-16 says: challenge', { temporary: true });
  const proof = await crypto.sign(key.privateKey, locateBytes(nonce, challenge, device));
  const answer = await ask({ ...question, challenge, proof: toBase64url(proof) });
  try {
    const gateways = answeredGateways(answer.gateways);
    await follow(keyDocuments(answer.keys));
    const signed = locatedBytes(nonce, device, gateways);
    if (!(await trusted.verify(signed, fromBase64url(answer.sig, LIMITS.signatureBytes)))) {
      throw new TypeError('signature');
    }
    return usableGateways(gateways, log);
  } catch (error) {
    throw new ApiError(`the answer is not as G-16 says: ${(error as Error).message}`, { temporary: true });
  }
}
