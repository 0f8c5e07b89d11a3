/**
 * The client's part of RFC 6455 that a load generator needs: whole frames, a mask of zeros, no extensions.
 */

export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

/** A frame from client to server. A mask of zeros is valid and costs no work. */
export function clientFrame(payload: Uint8Array, opcode: number = OPCODE.binary): Uint8Array {
  const { length } = payload;
  const extended = length < 126 ? 0 : length < 65_536 ? 2 : 8;
  const frame = new Uint8Array(2 + extended + 4 + length);
  frame[0] = 0x80 | opcode;
  frame[1] = 0x80 | (extended === 0 ? length : extended === 2 ? 126 : 127);
  const view = new DataView(frame.buffer);
  if (extended === 2) view.setUint16(2, length);
  if (extended === 8) view.setBigUint64(2, BigInt(length));
  frame.set(payload, 2 + extended + 4);
  return frame;
}

export function joined(frames: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(frames.reduce((sum, frame) => sum + frame.length, 0));
  let offset = 0;
  for (const frame of frames) {
    bytes.set(frame, offset);
    offset += frame.length;
  }
  return bytes;
}

/**
 * Passes on every whole frame in `bytes` and returns how many bytes they took; the rest begins another frame.
 * Stops when `take` returns false.
 */
export function readFrames(
  bytes: Uint8Array,
  take: (opcode: number, payload: Uint8Array) => boolean,
): number {
  let at = 0;
  while (bytes.length - at >= 2) {
    const opcode = (bytes[at] as number) & 0x0f;
    let length = (bytes[at + 1] as number) & 0x7f;
    let start = at + 2;
    if (length === 126) {
      if (bytes.length < start + 2) break;
      length = ((bytes[start] as number) << 8) | (bytes[start + 1] as number);
      start += 2;
    } else if (length === 127) {
      if (bytes.length < start + 8) break;
      length = Number(new DataView(bytes.buffer, bytes.byteOffset + start, 8).getBigUint64(0));
      start += 8;
    }
    if (bytes.length < start + length) break;
    at = start + length;
    if (!take(opcode, bytes.subarray(start, at))) break;
  }
  return at;
}
