/** A device replaces its own key (PROTOCOL.md, K-6). */
import {
  encodeKeyRotation,
  keyRotationBytes,
  requestBytes,
  type SignedServerKeys,
} from '../protocol/index.ts';
import type { Inbox } from './connection/inbox.ts';
import { type EnrolmentAnswer, openAnswer } from './enrolment-messages.ts';
import type { DeviceKeys } from './executions/device-keys.ts';
import { keyDocuments } from './keys/key-documents.ts';
import { ApiError, apiPost, type Fetch } from './platform/api-request.ts';
import { toBase64url } from './platform/base64url.ts';
import type { DeviceCrypto, DeviceKey } from './platform/crypto.ts';
import type { DeviceIdentity, DeviceState } from './storage/store.ts';

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

/** What the device lends; a device that has none of this code has no `rotateKey`. */
export interface KeyRotationParts {
  state: DeviceState & Required<Pick<DeviceState, 'key' | 'identity'>>;
  keys: Pick<DeviceKeys, 'replace'>;
  inbox: Pick<Inbox, 'follow' | 'take' | 'caughtUp'>;
  /** Also in `state`; resolves when it is stored. */
  save(news: Partial<DeviceState>): Promise<void>;
  /** The one that it enrolled at when absent. */
  server?: string | undefined;
  crypto: DeviceCrypto;
  fetch?: Fetch | undefined;
}

/** Resolves when the server has accepted another key. Throws `ApiError`. */
export type KeyRotation = (parts: KeyRotationParts) => Promise<void>;

export const keyRotation: KeyRotation = async ({ state, keys, inbox, save, server, crypto, fetch }) => {
  const to = state.nextKey ?? (await crypto.generate());
  // The key is stored before the server is asked.
  await save({ nextKey: to });
  const { identity, key: from, keys: held } = state;
  const where = server ?? identity.server;
  const answer = await askRotation({ identity, server: where, from, to, held, crypto, fetch });
  const { documents, membership, list, secret, generation } = answer;
  if (generation !== identity.generation) {
    await save({ identity: { ...identity, secret, generation, formerSecret: identity.secret } });
    keys.replace(secret);
  }
  // The gateway may have brought the membership first.
  await inbox.follow(documents);
  const { body, sig } = membership;
  if (state.key !== to) inbox.take({ t: 'order', body, sig }, true);
  if (list) inbox.take({ t: 'order', ...list }, true);
  await inbox.caughtUp();
  if (state.key !== to) throw new ApiError('the answer is not as K-6 says: another key', { temporary: true });
};

/** Throws `ApiError`. */
export async function askRotation(options: RotateKeyOptions): Promise<RotatedKey> {
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
