/** Asks the administration server to replace the device's key (PROTOCOL.md, K-6). */
import {
  encodeKeyRotation,
  keyRotationBytes,
  requestBytes,
  type SignedServerKeys,
} from '../protocol/index.ts';
import { type EnrolmentAnswer, openAnswer } from './enrolment-messages.ts';
import { keyDocuments } from './keys/key-documents.ts';
import { ApiError, apiPost, type Fetch } from './platform/api-request.ts';
import { toBase64url } from './platform/base64url.ts';
import type { DeviceCrypto, DeviceKey } from './platform/crypto.ts';
import type { DeviceIdentity } from './storage/store.ts';

export interface RotateKeyOptions {
  identity: Pick<DeviceIdentity, 'deviceId' | 'generation'>;
  /** Base URL of its HTTP API. */
  server: string;
  from: DeviceKey;
  to: DeviceKey;
  /** The server keys that the device holds. */
  held: SignedServerKeys | undefined;
  crypto: DeviceCrypto;
  fetch?: Fetch | undefined;
}

export type RotatedKey = EnrolmentAnswer & { documents: SignedServerKeys[] };

/** Throws `ApiError`. */
export type AskRotation = (options: RotateKeyOptions) => Promise<RotatedKey>;

/** Throws `ApiError`. */
export async function keyRotation(options: RotateKeyOptions): Promise<RotatedKey> {
  const { identity, server, from, to, held, crypto, fetch } = options;
  const { deviceId: device, generation } = identity;
  const sealTo = await crypto.generateX25519();
  const keys = { from: from.publicKey, to: to.publicKey, sealTo: sealTo.publicKey };
  const body = encodeKeyRotation({ device, ...keys, generation });
  const bytes = keyRotationBytes(body);
  const tokenSig = await crypto.sign(from.privateKey, bytes);
  const deviceSig = await crypto.sign(to.privateKey, bytes);
  const hash = await crypto.sha256(requestBytes({ body, tokenSig, deviceSig }));
  const texts = { fromSig: toBase64url(tokenSig), toSig: toBase64url(deviceSig) };
  const json = { body: toBase64url(body), ...texts };
  const answer = await apiPost({ server, path: 'v1/rotate-key', body: json, fetch });
  try {
    const opened = await openAnswer(answer, { crypto, hash, sealTo, publicKey: to.publicKey }, held);
    if (opened.deviceId === device) return { ...opened, documents: keyDocuments(answer.keys) };
    throw new TypeError('another device');
  } catch (error) {
    throw new ApiError(`the answer is not as K-6 says: ${(error as Error).message}`, { temporary: true });
  }
}
