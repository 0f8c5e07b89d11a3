/** What a gateway does with WebSocket frames that break RFC 6455 (PROTOCOL.md, F-8). */
import type { Socket } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { CLOSE, encodeDeviceMessage } from '../../protocol/index.ts';
import { connectDevice, type RawDevice } from './raw-device.ts';
import { type Rig, withRig } from './rig.ts';

const BEAT = encodeDeviceMessage({ t: 'beat' });
const FIN = 0x80;
const CONTINUATION = 0x0;
const TEXT = 0x1;
const BINARY = 0x2;
const CLOSING = 0x8;
const PING = 0x9;
const MASK = [1, 2, 3, 4];

/** `first`: FIN, the reserved bits and the opcode. `length`: as written, where it is not the payload's. */
function frame(first: number, payload: Uint8Array = BEAT, length: number[] = [payload.length]): Uint8Array {
  const [head = 0, ...rest] = length;
  const masked = payload.map((byte, index) => byte ^ (MASK[index % 4] ?? 0));
  return Uint8Array.from([first, 0x80 | head, ...rest, ...MASK, ...masked]);
}

function unmasked(payload: Uint8Array): Uint8Array {
  return Uint8Array.from([FIN | BINARY, payload.length, ...payload]);
}

/** A device whose session is open, and its socket below WebSocket. */
async function session(rig: Rig): Promise<{ device: RawDevice; send(...frames: Uint8Array[]): void }> {
  const { device } = await connectDevice(rig.url, await rig.enrol());
  const { _socket: socket } = device.socket as unknown as { _socket: Socket };
  return { device, send: (...frames) => void socket.write(Buffer.concat(frames)) };
}

const ENDS_TCP: [what: string, bytes: Uint8Array][] = [
  ['the first reserved bit', frame(FIN | 0x40 | BINARY)],
  ['the second reserved bit', frame(FIN | 0x20 | BINARY)],
  ['the third reserved bit', frame(FIN | 0x10 | BINARY)],
  ['an unknown data opcode', frame(FIN | 0x3)],
  ['an unknown control opcode', frame(FIN | 0xb)],
  ['a fragmented ping', frame(PING, new Uint8Array(2))],
  ['a ping of 126 bytes', frame(FIN | PING, new Uint8Array(126), [126, 0, 126])],
  ['a continuation of nothing', frame(FIN | CONTINUATION)],
  ['text that is not UTF-8', frame(FIN | TEXT, Uint8Array.from([0xff, 0xfe]))],
  ['a length of 2^63', frame(FIN | BINARY, BEAT, [127, 0x80, 0, 0, 0, 0, 0, 0, 0])],
];

for (const [what, bytes] of ENDS_TCP) {
  test(`F-8: ${what} ends the TCP connection without a close frame`, () =>
    withRig({}, async (rig) => {
      const { device, send } = await session(rig);
      send(bytes);
      assert.is((await device.closed()).code, 1006);
      await rig.receipt('disconnected');
    }));
}

test('F-8: an unmasked frame is not noticed: its first four bytes are taken for a mask', () =>
  withRig({}, async (rig) => {
    const one = await session(rig);
    // With a mask of zeros in front, its bytes are those of a masked frame.
    one.send(Uint8Array.from([FIN | BINARY, BEAT.length, 0, 0, 0, 0, ...BEAT]));
    await one.device.take('beat');
    const other = await session(rig);
    other.send(unmasked(BEAT), frame(FIN | BINARY));
    assert.is((await other.device.closed()).code, CLOSE.protocolError);
  }));

test('F-8: a message that begins within another one is read as a part of it', () =>
  withRig({}, async (rig) => {
    const { device, send } = await session(rig);
    send(frame(BINARY, BEAT.subarray(0, 3)), frame(FIN | BINARY, BEAT.subarray(3)));
    await device.take('beat');
  }));

test('F-1: a message in fragments is read, also with a ping in between', () =>
  withRig({}, async (rig) => {
    const { device, send } = await session(rig);
    send(
      frame(BINARY, BEAT.subarray(0, 3)),
      frame(FIN | PING, Uint8Array.of(7)),
      frame(FIN | CONTINUATION, BEAT.subarray(3)),
    );
    await device.take('beat');
  }));

test('F-8: a close frame whose code is none is answered with a close frame without a code', () =>
  withRig({}, async (rig) => {
    for (const payload of [Uint8Array.of(3), Uint8Array.of(0x03, 0xed)]) {
      const { device, send } = await session(rig);
      send(frame(FIN | CLOSING, payload));
      assert.is((await device.closed()).code, 1005);
    }
  }));

test.run();
