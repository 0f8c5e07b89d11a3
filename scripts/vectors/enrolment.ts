/** Enrolment (section E): a token, a request, its answer and refusal, and what is refused; HPKE. */
import { createHash } from 'node:crypto';
import { nodeHpke } from '../../protocol/hpke-node.ts';
import {
  encodeEnrolled,
  encodeEnrolRequest,
  enrolBytes,
  enrolledBytes,
  refusedBytes,
  requestBytes,
  sealedSecretBytes,
  sealTo,
  tokenText,
} from '../../protocol/index.ts';
import {
  DEVICE,
  DEVICE_KEY,
  INSTALLATION,
  NAMES,
  ROOT_KEY,
  SECRET,
  SERVER_KEY,
  signWith,
  TOKEN,
  TOKEN_KEY,
  x25519FromSeed,
} from './keys.ts';
import { signedOrder } from './orders.ts';
import { firstServerKeys, nextRootServerKeys } from './server-keys.ts';
import { bin, hexOf, map, str, view } from './wire.ts';

const FINGERPRINT = createHash('sha256').update(ROOT_KEY.publicKey).digest();
export const SEAL_TO = x25519FromSeed(0x10);
/** Public like the seeds: a real one is used once. */
const EPHEMERAL = x25519FromSeed(0x30);

const REQUEST = {
  token: TOKEN,
  publicKey: DEVICE_KEY.publicKey,
  sealTo: SEAL_TO.publicKey,
  name: 'kiosk 7',
  platform: 'linux-x64',
  software: 'example 1.0',
};
const REQUEST_BODY = encodeEnrolRequest(REQUEST);
const TOKEN_SIG = signWith(TOKEN_KEY, enrolBytes(REQUEST_BODY));
const DEVICE_SIG = signWith(DEVICE_KEY, enrolBytes(REQUEST_BODY));
const SIGNED_REQUEST = requestBytes({ body: REQUEST_BODY, tokenSig: TOKEN_SIG, deviceSig: DEVICE_SIG });
const REQUEST_HASH = new Uint8Array(createHash('sha256').update(SIGNED_REQUEST).digest());

const seal = (info: Uint8Array, message: Uint8Array, associated = new Uint8Array()) =>
  sealTo({
    platform: { ...nodeHpke, generateX25519: () => EPHEMERAL },
    ...{ publicKey: SEAL_TO.publicKey, info, message, associated },
  });

const SEALED_SECRET = await seal(sealedSecretBytes(REQUEST_HASH), SECRET);
const SEALED_TEXT = await seal(
  new TextEncoder().encode('info'),
  new TextEncoder().encode('message'),
  new TextEncoder().encode('associated'),
);

const hexes = (fields: Record<string, Uint8Array>): Record<string, string> =>
  Object.fromEntries(Object.entries(fields).map(([name, bytes]) => [name, hexOf(bytes)]));

export function enrolmentVectors() {
  return {
    enrolment: { token: token(), request: request(), answer: answer(), refusal: refusal() },
    refusedEnrolRequests: refusedRequests(),
    hpke: {
      privateKey: hexOf(SEAL_TO.privateKey),
      publicKey: hexOf(SEAL_TO.publicKey),
      ephemeralKey: hexOf(EPHEMERAL.privateKey),
      info: '696e666f',
      associated: '6173736f636961746564',
      message: '6d657373616765',
      ...hexes({ ...SEALED_TEXT }),
    },
    refusedPublicKeys: refusedPublicKeys(),
  };
}

function token() {
  const { seed, publicKey } = TOKEN_KEY;
  return {
    text: tokenText('pp1', { id: TOKEN, seed, fingerprint: FINGERPRINT }),
    id: TOKEN,
    ...hexes({ seed, publicKey, fingerprint: FINGERPRINT }),
  };
}

function request() {
  return {
    fields: view(REQUEST),
    sealToPrivateKey: hexOf(SEAL_TO.privateKey),
    ...hexes({ body: REQUEST_BODY, signedBytes: enrolBytes(REQUEST_BODY) }),
    ...hexes({ tokenSig: TOKEN_SIG, deviceSig: DEVICE_SIG, hash: REQUEST_HASH }),
  };
}

function answer() {
  const { body, sig } = signedOrder('membership');
  const enrolled = {
    deviceId: DEVICE,
    installation: INSTALLATION,
    generation: 1,
    secret: SEALED_SECRET,
    membership: { body, sig },
    list: signedOrder('list of gateways'),
    gateways: NAMES,
  };
  const answered = encodeEnrolled(enrolled);
  const signedBytes = enrolledBytes(REQUEST_HASH, answered);
  return {
    keys: [firstServerKeys(), nextRootServerKeys()].map((document) => hexes({ ...document })),
    fields: view(enrolled),
    ...hexes({ body: answered, signedBytes, sig: signWith(SERVER_KEY, signedBytes) }),
    ...hexes({ info: sealedSecretBytes(REQUEST_HASH), secret: SECRET }),
  };
}

function refusal() {
  const [code, detail] = ['gone', 'This enrolment token has expired; ask an operator for a new one.'];
  const signedBytes = refusedBytes(REQUEST_HASH, code, detail);
  return { code, detail, ...hexes({ signedBytes, sig: signWith(SERVER_KEY, signedBytes) }) };
}

function refusedRequests() {
  const plain = {
    kind: str('enrol'),
    token: str(TOKEN),
    publicKey: bin(DEVICE_KEY.publicKey),
    sealTo: bin(SEAL_TO.publicKey),
  };
  const body = (name: string, rule: string, change: Record<string, string>) => ({
    ...{ name, rule },
    body: map({ ...plain, ...change }),
  });
  const { publicKey: _, ...noKey } = plain;
  return [
    body('another kind', 'F-6', { kind: str('enrolled') }),
    body('a token that is no identifier', 'F-6', { token: str('pp1.x y') }),
    { name: 'no public key', rule: 'F-6', body: map(noKey) },
    body('a short public key', 'F-6', { publicKey: bin(new Uint8Array(31)) }),
    body('a public key that is text', 'F-6', { publicKey: str('key') }),
    body('a public key of small order', 'E-8', { publicKey: bin(identity()) }),
    body('a key to seal to of small order', 'E-8', { sealTo: bin(new Uint8Array(32)) }),
    body('a name that is a number', 'F-6', { name: '07' }),
    body('too long', 'F-3', { more: `c5${(4096).toString(16)}${'00'.repeat(4096)}` }),
  ];
}

function identity(): Uint8Array {
  return Uint8Array.from([1, ...new Uint8Array(31)]);
}

/** Every name that a point of small order has, and a sample of names that are not canonical. */
function refusedPublicKeys() {
  const p = `edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f`;
  const small = {
    y: [
      '0000000000000000000000000000000000000000000000000000000000000000',
      '0100000000000000000000000000000000000000000000000000000000000000',
      'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
      '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
      'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
    ],
    u: [
      '0000000000000000000000000000000000000000000000000000000000000000',
      '0100000000000000000000000000000000000000000000000000000000000000',
      'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
      'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
      '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
    ],
  };
  const withSign = (hex: string) =>
    hex.slice(0, 62) + (Number.parseInt(hex.slice(62), 16) | 0x80).toString(16).padStart(2, '0');
  const above = [p, `ee${p.slice(2)}`, `ff${p.slice(2)}`];
  return {
    ed25519: [...small.y, ...small.y.map(withSign), ...above, ...above.map(withSign)],
    x25519: [...small.u, ...small.u.map(withSign), ...above, ...above.map(withSign)],
  };
}
