/** Asks the administration server to replace the device's key (PROTOCOL.md, K-6). */
import { encodeKeyRotation, keyRotationBytes, LIMITS, type SignedServerKeys } from '../protocol/index.ts';
import { keyDocuments } from './keys/key-documents.ts';
import { ApiError, apiPost, type Fetch } from './platform/api-request.ts';
import { fromBase64url, toBase64url } from './platform/base64url.ts';
import type { DeviceCrypto, DeviceKey } from './platform/crypto.ts';

export interface RotateKeyOptions {
  deviceId: string;
  /** Base URL of its HTTP API. */
  server: string;
  from: DeviceKey;
  to: DeviceKey;
  crypto: DeviceCrypto;
  fetch?: Fetch | undefined;
}

/** What the server answers, not verified. */
export interface RotatedKey {
  membership: { body: Uint8Array; sig: Uint8Array };
  keys: SignedServerKeys[];
}

/** Throws `ApiError`. */
export async function askRotation(options: RotateKeyOptions): Promise<RotatedKey> {
  const { deviceId: device, server, from, to, crypto, fetch } = options;
  const body = encodeKeyRotation({ device, from: from.publicKey, to: to.publicKey });
  const bytes = keyRotationBytes(body);
  const request = {
    body: toBase64url(body),
    fromSig: toBase64url(await crypto.sign(from.privateKey, bytes)),
    toSig: toBase64url(await crypto.sign(to.privateKey, bytes)),
  };
  const answer = await apiPost({ server, path: 'v1/rotate-key', body: request, fetch });
  try {
    const { membership } = answer as { membership: { body: unknown; sig: unknown } };
    return {
      membership: {
        body: fromBase64url(membership.body),
        sig: fromBase64url(membership.sig, LIMITS.signatureBytes),
      },
      keys: keyDocuments(answer.keys),
    };
  } catch (error) {
    throw new ApiError(`the answer is not as K-6 says: ${(error as Error).message}`, { temporary: true });
  }
}
