/** Secret commands (section X): the keys, and what is sealed with each. The nonces are fixed here only. */
import { createCipheriv } from 'node:crypto';
import {
  type Encrypted,
  encodeArgs,
  encodeResultBody,
  encodeSealedBody,
  type GroupKeyName,
  type Key,
  type Result,
  type ResultBody,
  SECRET_KEY_BYTES,
  type SealedArgs,
  sealedArgsBytes,
  sealedKeyBytes,
  sealedResultBytes,
  WRAP_KEY_BYTES,
} from '../../protocol/index.ts';
import { DEVICE, SECRET } from './keys.ts';
import { mac, resultWithBody } from './results.ts';
import { hexOf, view } from './wire.ts';

const GROUP_KEY = Uint8Array.from({ length: 32 }, (_, i) => 0x20 + i);
const KEY_NAME: GroupKeyName = { group: 'berlin', epoch: 1, number: 2 };
const WRAP_KEY = mac(SECRET, WRAP_KEY_BYTES);
const DEVICE_KEY = mac(SECRET, SECRET_KEY_BYTES);
const ARGS = { topic: 'credentials', body: { user: 'kiosk', password: 'correct horse' } };
const END: ResultBody = { state: 'succeeded', data: { accepted: true } };

function seal(key: Uint8Array, plain: Uint8Array, about: Uint8Array, first: number): Encrypted {
  const nonce = Uint8Array.from({ length: 12 }, (_, i) => first + i);
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(about);
  const ct = Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
  return { nonce, ct: new Uint8Array(ct) };
}

/** Of the command `id`, for this device or for the group of `KEY_NAME`. */
export function secretArgs(id: string, target: 'device' | 'group'): SealedArgs {
  const plain = encodeArgs(ARGS);
  if (target === 'device') return seal(DEVICE_KEY, plain, sealedArgsBytes(id, { device: DEVICE }), 0x01);
  return { key: KEY_NAME, ...seal(GROUP_KEY, plain, sealedArgsBytes(id, KEY_NAME), 0x11) };
}

export const WANT = { t: 'want', ...KEY_NAME } as const;

export function wantedKey(): Key {
  return { t: 'key', ...KEY_NAME, ...seal(WRAP_KEY, GROUP_KEY, sealedKeyBytes(DEVICE, KEY_NAME), 0x21) };
}

function sealedEnd(id: string): Encrypted {
  return seal(DEVICE_KEY, encodeResultBody(END), sealedResultBytes(DEVICE, id), 0x31);
}

export function secretResult(id: string): Result {
  return resultWithBody(id, encodeSealedBody(sealedEnd(id)));
}

export function secretVectors() {
  const id = 'cmd-0007';
  const vector = (
    name: string,
    key: Uint8Array,
    {
      about,
      plain,
      means,
      sealed,
    }: { about: Uint8Array; plain: Uint8Array; means: unknown; sealed: Encrypted },
  ) => ({
    name,
    key: hexOf(key),
    associatedData: hexOf(about),
    plain: hexOf(plain),
    means: view(means),
    nonce: hexOf(sealed.nonce),
    ct: hexOf(sealed.ct),
  });
  return {
    secretKeys: {
      secret: hexOf(SECRET),
      wrap: hexOf(WRAP_KEY),
      device: hexOf(DEVICE_KEY),
      group: hexOf(GROUP_KEY),
    },
    sealed: [
      vector('X-3: arguments for a device', DEVICE_KEY, {
        about: sealedArgsBytes(id, { device: DEVICE }),
        plain: encodeArgs(ARGS),
        means: ARGS,
        sealed: secretArgs(id, 'device'),
      }),
      vector('X-3: arguments for a group', GROUP_KEY, {
        about: sealedArgsBytes(id, KEY_NAME),
        plain: encodeArgs(ARGS),
        means: ARGS,
        sealed: secretArgs(id, 'group'),
      }),
      vector('X-6: the key of a group', WRAP_KEY, {
        about: sealedKeyBytes(DEVICE, KEY_NAME),
        plain: GROUP_KEY,
        means: GROUP_KEY,
        sealed: wantedKey(),
      }),
      vector('X-8: a result', DEVICE_KEY, {
        about: sealedResultBytes(DEVICE, id),
        plain: encodeResultBody(END),
        means: END,
        sealed: sealedEnd(id),
      }),
    ],
  };
}
