/** The whole of protocol/vectors.json as text; the same bytes every time. */
import { Buffer } from 'node:buffer';
import {
  CLOSE,
  closeName,
  encodeKeyRotation,
  keyRotationBytes,
  LIMITS,
  locateBytes,
  locatedBytes,
  MEASURING_LIMITS,
  passBytes,
  proofBytes,
  reconnectAdvice,
  SERVER_LIMITS,
  SUBPROTOCOL,
} from '../../protocol/index.ts';
import { enrolmentVectors, SEAL_TO } from './enrolment.ts';
import { frameVectors } from './frames.ts';
import {
  CHALLENGE,
  DEVICE,
  DEVICE_KEY,
  GATEWAY,
  keyView,
  NAMES,
  NEXT_KEY,
  NEXT_ROOT_KEY,
  NONCE,
  ROOT_KEY,
  SERVER_KEY,
  signWith,
} from './keys.ts';
import { bodyVectors, orderVectors, refusedBodyVectors, signedOrder, signedPass } from './orders.ts';
import { refusedVectors } from './refused.ts';
import { resultVectorsAll } from './results.ts';
import { secretVectors } from './secrets.ts';
import { serverKeysVectors } from './server-keys.ts';
import { timingVectors } from './timing.ts';
import { tunnelSealVectors } from './tunnel-seals.ts';
import { tunnelVectors } from './tunnels.ts';
import { walkthroughVectors } from './walkthroughs.ts';
import { hexOf } from './wire.ts';

const LIST = signedOrder('list of gateways').body;

function signatureVectors() {
  const signed = (name: string, inputs: object, bytes: Uint8Array, key: 'device' | 'server' = 'device') => {
    const sig = signWith(key === 'device' ? DEVICE_KEY : SERVER_KEY, bytes);
    return {
      name,
      key,
      inputs,
      signedBytes: hexOf(bytes),
      sig: hexOf(sig),
      sigBase64url: Buffer.from(sig).toString('base64url'),
    };
  };
  const rotation = encodeKeyRotation({
    device: DEVICE,
    from: DEVICE_KEY.publicKey,
    to: NEXT_KEY.publicKey,
    sealTo: SEAL_TO.publicKey,
    generation: 1,
  });
  return [
    signed(
      'H-4 prove',
      { nonce: hexOf(NONCE), gateway: GATEWAY, device: DEVICE },
      proofBytes(NONCE, GATEWAY, DEVICE),
    ),
    signed(
      'K-6 rotate',
      {
        device: DEVICE,
        from: hexOf(DEVICE_KEY.publicKey),
        to: hexOf(NEXT_KEY.publicKey),
        sealTo: hexOf(SEAL_TO.publicKey),
        generation: 1,
        body: hexOf(rotation),
      },
      keyRotationBytes(rotation),
    ),
    signed('S-9 pass', { body: hexOf(signedPass().body) }, passBytes(signedPass().body), 'server'),
    signed(
      'G-16 locate',
      { nonce: hexOf(NONCE), challenge: CHALLENGE, device: DEVICE },
      locateBytes(NONCE, CHALLENGE, DEVICE),
    ),
    signed(
      'G-16 located',
      { nonce: hexOf(NONCE), device: DEVICE, gateways: NAMES, list: hexOf(LIST) },
      locatedBytes(NONCE, DEVICE, NAMES, LIST),
      'server',
    ),
  ];
}

function closeVectors() {
  const foreign = [1000, 1001, 1005, 1006, 1009, 1011, 3999, 4199, 4399, 4599, 4600, 4999];
  return [...Object.values(CLOSE), ...foreign]
    .sort((a, b) => a - b)
    .map((code) => ({ code, name: closeName(code), advice: reconnectAdvice(code) }));
}

export function makeVectors(): string {
  const frames = frameVectors();
  const vectors = {
    protocol: SUBPROTOCOL,
    about: [
      'Hex is lower case. In messages and orders, {"hex": ...} stands for binary.',
      'written: what our encoder writes, and what it means. Another encoder may write other bytes for ' +
        'the same message.',
      'alsoRead: frames as other encoders write them; message null: skipped (V-2).',
      'refused: frames that break a rule; who receives one closes with closeCode (section F).',
      'walkthroughs: the conversations of PROTOCOL.md, frame by frame.',
      'serverTime: after each step, server time and its floor (S-5). atMs is the monotonic clock, told ' +
        'a time of welcome or beat.',
      'backOff: how the connections of one device end in turn, and in what range of milliseconds it ' +
        'dials again (C-2, C-4, C-5). atMs is the monotonic clock, 0 when absent; ' +
        'gateways is how many it knows, 1 when absent.',
      'tunnelFrames: binary frames of tunnels (T-6), as every encoder writes them; ' +
        'refusedTunnelFrames: what ends a tunnel.',
      "tunnelKey: a tunnel's key as tunnel.open has it for the device (T-15), and the keys made from it. " +
        'sealedTunnelFrames: frames as they travel (T-14). refusedSealedFrames: messages to the device ' +
        'that end the tunnel, after it accepted the counter heard.',
      'enrolment: a token, a request with its signatures, the answer to it and a refusal (section E); ' +
        'keys of the answer: two documents, the second of the next root (K-7); sealToPrivateKey opens the ' +
        'secret. refusedEnrolRequests: bodies that the server refuses.',
      'hpke: a message sealed to publicKey (E-3) with the one-time private key ephemeralKey; ' +
        'refusedPublicKeys: keys that are never taken (E-8).',
      'results: ends, authenticated with the key of resultKey (R-8); ' +
        'resultBodies and refusedResultBodies: what is inside, as the ledger reads it. ' +
        'statuses, statusBodies, refusedStatusBodies: the same for what a device says of itself (B-5).',
      'secretKeys: the keys of a device and of a group (X-2, X-4); sealed: what is sealed with them, by ' +
        'AES-256-GCM with the tag at the end of ct. In use, every nonce is random.',
      'serverKeys: each after the one before it; whoever holds that one takes it where takenNext is true ' +
        '(K-3). The first is signed by root.',
      'orders: signed with the server key; bodies and refusedBodies: what is inside an order, without ' +
        'a signature.',
    ],
    limits: { ...LIMITS, ...MEASURING_LIMITS, ...SERVER_LIMITS },
    keys: {
      device: keyView(DEVICE_KEY),
      server: keyView(SERVER_KEY),
      nextServer: keyView(NEXT_KEY),
      root: keyView(ROOT_KEY),
      nextRoot: keyView(NEXT_ROOT_KEY),
    },
    signatures: signatureVectors(),
    ...frames,
    refused: refusedVectors(),
    orders: orderVectors(),
    bodies: bodyVectors(),
    refusedBodies: refusedBodyVectors(),
    ...serverKeysVectors(),
    walkthroughs: walkthroughVectors(),
    closeCodes: closeVectors(),
    ...enrolmentVectors(),
    ...resultVectorsAll(),
    ...secretVectors(),
    ...timingVectors(),
    ...tunnelVectors(),
    ...tunnelSealVectors(),
  };
  return `${JSON.stringify(vectors, null, 1)}\n`;
}
