/**
 * Random and mutated frames: the decoders give a valid message, `null` or a `ProtocolError`, and do it soon.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type DeviceMessage,
  decodeDeviceMessage,
  decodeGatewayMessage,
  decodeOrderBody,
  decodeResultBody,
  decodeStatusBody,
  encodeDeviceMessage,
  encodeGatewayMessage,
  encodeOrderBody,
  encodeResultBody,
  encodeStatusBody,
  type GatewayMessage,
  LIMITS,
  type OrderBody,
  ProtocolError,
  type ResultBody,
  type StatusBody,
} from '../../protocol/index.ts';
import { seededBelow } from '../seeded.ts';
import { mutateFrame, vectorFrames } from './frame-mutator.ts';
import { fromHex, toHex } from './vectors-file.ts';

const ROUNDS = 20_000;

const decoders: [
  name: string,
  decode: (bytes: Uint8Array) => unknown,
  encode: (value: never) => Uint8Array,
][] = [
  ['device', decodeDeviceMessage, (message: DeviceMessage) => encodeDeviceMessage(message)],
  ['gateway', decodeGatewayMessage, (message: GatewayMessage) => encodeGatewayMessage(message)],
  ['result body', decodeResultBody, (body: ResultBody) => encodeResultBody(body)],
  ['status body', decodeStatusBody, (body: StatusBody) => encodeStatusBody(body)],
  ['order body', decodeOrderBody, (body: OrderBody) => encodeOrderBody(body)],
];

/** Decodes with all of them; whatever is taken must survive encoding and decoding unchanged. */
function feed(bytes: Uint8Array): number {
  let taken = 0;
  for (const [name, decode, encode] of decoders) {
    let value: unknown;
    try {
      value = decode(bytes);
    } catch (error) {
      if (error instanceof ProtocolError) continue;
      throw new Error(`${name} ${toHex(bytes)}`, { cause: error });
    }
    if (value === null) continue;
    taken++;
    const encoded = encode(value as never);
    assert.is(toHex(encode(decode(encoded) as never)), toHex(encoded), toHex(bytes));
  }
  return taken;
}

test('F-2, F-4, F-5, F-6: random bytes give a message, nothing, or a protocol error', () => {
  const next = seededBelow(1);
  for (let round = 0; round < ROUNDS; round++) {
    const bytes = Uint8Array.from({ length: next(64) }, () => next(256));
    // Half of them start like a map, or they would all end at the first byte.
    if (bytes.length > 0 && round % 2 === 0) bytes[0] = 0x80 + next(16);
    feed(bytes);
  }
});

test('F-2, F-4, F-5, F-6: mutated frames give a valid message, nothing, or a protocol error', () => {
  const next = seededBelow(2);
  let taken = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const frame = vectorFrames[next(vectorFrames.length)];
    if (frame !== undefined) taken += feed(mutateFrame(frame, next));
  }
  // The fuzz is worth something only if some of it gets through.
  assert.ok(taken > ROUNDS / 100, `${taken} taken`);
});

test('F-3, F-4: the worst frames of full length are done with in bounded time', () => {
  const fill = (...pattern: number[]) =>
    Uint8Array.from({ length: LIMITS.frameBytes }, (_, i) => pattern[i % pattern.length] ?? 0);
  const patterns = [
    [0x91],
    [0x80],
    [0x90],
    [0xc0],
    [0x81, 0xa0],
    [0xdd, 0, 0, 0, 1],
    [0xdf, 0, 0, 0, 1, 0xa0],
    [0xd6],
    [0xc1],
  ];
  for (const pattern of patterns) {
    const started = performance.now();
    feed(fill(...pattern));
    // One huge array of the pattern inside a frame, well-formed where the pattern is.
    const frame = fill(...pattern);
    frame.set(fromHex('82a174a361636ba178dd0000fff2'));
    feed(frame);
    assert.ok(performance.now() - started < 2_000, `${pattern}`);
  }
});

test.run();
