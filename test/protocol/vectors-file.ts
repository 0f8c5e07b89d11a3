/** protocol/vectors.json as the tests read it. */
import { Buffer } from 'node:buffer';
import { readFileSync } from 'node:fs';

export interface FrameVector {
  name: string;
  from: 'device' | 'gateway';
  hex: string;
  message: unknown;
}

interface Vectors {
  keys: Record<
    'device' | 'server' | 'nextServer' | 'root' | 'nextRoot',
    { seed: string; publicKey: string; publicKeyBase64url: string }
  >;
  signatures: {
    name: string;
    key: 'device' | 'server';
    inputs: Partial<Record<'nonce' | 'gateway' | 'device' | 'challenge' | 'body', string>> & {
      gateways?: string[];
      list?: string;
    };
    signedBytes: string;
    sig: string;
    sigBase64url: string;
  }[];
  written: FrameVector[];
  alsoRead: FrameVector[];
  refused: { name: string; from: 'device' | 'gateway'; rule: string; closeCode: number; hex: string }[];
  orders: { name: string; order: unknown; body: string; signedBytes: string; sig: string; frame: string }[];
  bodies: { name: string; body: string; order: unknown }[];
  resultKey: { secret: string; key: string };
  results: {
    name: string;
    device: string;
    id: string;
    end: unknown;
    body: string;
    authenticatedBytes: string;
    mac: string;
    frame: string;
  }[];
  secretKeys: { secret: string; wrap: string; device: string; group: string };
  sealed: {
    name: string;
    key: string;
    associatedData: string;
    plain: string;
    means: unknown;
    nonce: string;
    ct: string;
  }[];
  resultBodies: { name: string; body: string; end: unknown }[];
  refusedResultBodies: { name: string; rule: string; body: string }[];
  statuses: {
    name: string;
    device: string;
    status: unknown;
    body: string;
    authenticatedBytes: string;
    mac: string;
    frame: string;
  }[];
  statusBodies: { name: string; body: string; status: unknown }[];
  refusedStatusBodies: { name: string; rule: string; body: string }[];
  refusedBodies: { name: string; rule: string; body: string }[];
  serverKeys: {
    name: string;
    keys: unknown;
    fingerprint: string;
    body: string;
    signedBytes: string;
    sig: string;
    previousSig?: string;
    takenNext: boolean;
  }[];
  refusedServerKeys: { name: string; rule: string; body: string }[];
  enrolment: {
    token: Record<'text' | 'id' | 'seed' | 'publicKey' | 'fingerprint', string>;
    request: Record<
      'sealToPrivateKey' | 'body' | 'signedBytes' | 'hash' | 'tokenSig' | 'deviceSig',
      string
    > & {
      fields: unknown;
    };
    answer: Record<'body' | 'signedBytes' | 'sig' | 'info' | 'secret', string> & {
      keys: { body: string; sig: string; previousSig?: string }[];
      fields: unknown;
    };
    refusal: Record<'code' | 'detail' | 'signedBytes' | 'sig', string>;
  };
  refusedEnrolRequests: { name: string; rule: string; body: string }[];
  hpke: Record<
    'privateKey' | 'publicKey' | 'ephemeralKey' | 'info' | 'associated' | 'message' | 'enc' | 'ct',
    string
  >;
  refusedPublicKeys: { ed25519: string[]; x25519: string[] };
  walkthroughs: { name: string; frames: FrameVector[] }[];
  closeCodes: { code: number; name: string; advice: string }[];
  serverTime: {
    name: string;
    steps: {
      atMs: number;
      told?: number;
      issuedAt?: number;
      restart?: true;
      serverTime: number;
      floor: number;
    }[];
  }[];
  tunnelFrames: { name: string; hex: string; frame: unknown }[];
  refusedTunnelFrames: { name: string; hex: string; rule: string }[];
  tunnelKey: Record<
    'device' | 'tunnel' | 'wrap' | 'associatedData' | 'wrapped' | 'key' | 'operatorKey' | 'deviceKey',
    string
  >;
  sealedTunnelFrames: {
    name: string;
    by: 'operator' | 'device';
    counter: number;
    frame: string;
    message: string;
  }[];
  refusedSealedFrames: { name: string; heard: number; message: string; rule: string }[];
  backOff: {
    name: string;
    steps: {
      atMs?: number;
      code: number;
      sessionMs: number;
      retryAfterMs?: number;
      gateways?: number;
      withinMs: [number, number];
    }[];
  }[];
}

const file = new URL('../../../protocol/vectors.json', import.meta.url);
/** PROTOCOL.md. */
export const documentText = readFileSync(new URL('../../../PROTOCOL.md', import.meta.url), 'utf8');
export const vectorsText = readFileSync(file, 'utf8');
export const vectors = JSON.parse(vectorsText) as Vectors;

export function fromHex(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex, 'hex'));
}

export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

/** A message as JSON shows it, with `{ hex }` turned back into binary. */
export function fromView(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(fromView);
  if (typeof value !== 'object' || value === null) return value;
  const keys = Object.keys(value);
  if (keys.length === 1 && keys[0] === 'hex') return fromHex((value as { hex: string }).hex);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fromView(item)]));
}

/** A decoded message in the form of `message` in the vectors, so that the two can be compared. */
export function toView(value: unknown): unknown {
  if (value instanceof Uint8Array) return { hex: toHex(value) };
  if (Array.isArray(value)) return value.map(toView);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, toView(item)]));
}
