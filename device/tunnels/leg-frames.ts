/**
 * WebSocket frames for a leg (RFC 6455, section 5). Whole messages are passed on in the buffer they were read
 * into: at hundreds of megabytes a second, allocations would make garbage collection take most of the time.
 */
import { randomBytes } from 'node:crypto';
import { TUNNEL_LIMITS } from '../../protocol/index.ts';

export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

/** Longest header of what a client sends: two bytes, eight of length, four of mask. */
const LONGEST_HEADER = 14;
/** Several messages at a time, and always room for the rest of one. */
const READ_BYTES = 4 * TUNNEL_LIMITS.dataBytes;
const KEPT_BYTES = LONGEST_HEADER + TUNNEL_LIMITS.messageBytes;
/** No close, ping or pong is longer. */
const CONTROL_BYTES = 125;

export interface LegFrameEvents {
  /** `payload` is only valid during the call. */
  message(payload: Buffer, isBinary: boolean): void;
  /** Ping, pong or close; `payload` is only valid during the call. */
  control(opcode: number, payload: Buffer): void;
  /** A frame that a server may not send. Nothing follows. */
  fault(code: 1002 | 1009, reason: string): void;
}

/** Reads what a server sends. */
export class LegFrameReader {
  readonly #events: LegFrameEvents;
  readonly #buffer = Buffer.allocUnsafeSlow(READ_BYTES + KEPT_BYTES);
  #filled = 0;
  #over = false;
  /** Fragments of a message that has not ended, and its opcode. */
  #parts: Buffer[] = [];
  #partsLength = 0;
  #opcode = 0;

  constructor(events: LegFrameEvents) {
    this.#events = events;
  }

  /** Where to read the next bytes into. */
  get room(): Buffer {
    return this.#buffer.subarray(this.#filled, this.#filled + READ_BYTES);
  }

  /** This many bytes of the room have been filled. */
  filled(bytes: number): void {
    if (this.#over) return;
    const data = this.#buffer;
    const end = this.#filled + bytes;
    let at = 0;
    while (!this.#over) {
      const size = this.#take(at, end);
      if (size === 0) break;
      at += size;
    }
    if (at > 0) data.copyWithin(0, at, end);
    this.#filled = end - at;
  }

  /** Nothing is passed on any more. */
  stop(): void {
    this.#over = true;
  }

  /** Reads the frame at `at`; returns its length, 0 if it is incomplete. */
  #take(at: number, end: number): number {
    const data = this.#buffer;
    if (end - at < 2) return 0;
    const first = data[at] as number;
    const short = data[at + 1] as number;
    const header = short < 126 ? 2 : short === 126 ? 4 : 10;
    if (end - at < header) return 0;
    const length =
      header === 2
        ? short
        : header === 4
          ? data.readUInt16BE(at + 2)
          : data.readUInt32BE(at + 2) * 2 ** 32 + data.readUInt32BE(at + 6);
    const opcode = first & 15;
    const isControl = opcode >= OPCODE.close;
    if ((first & 0x70) !== 0 || (short & 0x80) !== 0 || (isControl && (first & 0x80) === 0)) {
      return this.#fail(1002, 'not a frame of a server');
    }
    const limit = isControl ? CONTROL_BYTES : TUNNEL_LIMITS.messageBytes - this.#partsLength;
    if (length > limit) return this.#fail(1009, 'a message too long');
    if (end - at < header + length) return 0;
    const payload = data.subarray(at + header, at + header + length);
    if (isControl) this.#events.control(opcode, payload);
    else this.#data(opcode, (first & 0x80) !== 0, payload);
    return header + length;
  }

  #data(opcode: number, last: boolean, payload: Buffer): void {
    const continued = opcode === OPCODE.continuation;
    if (opcode > OPCODE.binary || continued !== this.#opcode > 0) {
      this.#fail(1002, 'a fragment out of turn');
      return;
    }
    if (last && !continued) {
      this.#events.message(payload, opcode === OPCODE.binary);
      return;
    }
    // Many empty fragments must not fill memory.
    if (payload.length > 0 || this.#parts.length === 0) this.#parts.push(Buffer.from(payload));
    this.#partsLength += payload.length;
    if (!continued) this.#opcode = opcode;
    if (!last) return;
    const message = Buffer.concat(this.#parts);
    const isBinary = this.#opcode === OPCODE.binary;
    this.#parts = [];
    this.#partsLength = 0;
    this.#opcode = 0;
    this.#events.message(message, isBinary);
  }

  #fail(code: 1002 | 1009, reason: string): 0 {
    if (this.#over) return 0;
    this.#over = true;
    this.#events.fault(code, reason);
    return 0;
  }
}

/**
 * Header and payload of a frame to a server, in parts. Not `masked`: with a mask of zeros, and the parts of
 * the payload themselves instead of a copy.
 */
export function clientFrame(
  opcode: number,
  payload: readonly Uint8Array[],
  masked: boolean,
): [header: Buffer, ...payload: Uint8Array[]] {
  let length = 0;
  for (const part of payload) length += part.length;
  const size = length < 126 ? 6 : length < 65_536 ? 8 : 14;
  const header = Buffer.allocUnsafe(size);
  header[0] = 0x80 | opcode;
  if (size === 6) header[1] = 0x80 | length;
  else if (size === 8) {
    header[1] = 0x80 | 126;
    header.writeUInt16BE(length, 2);
  } else {
    header[1] = 0x80 | 127;
    header.writeUInt32BE(0, 2);
    header.writeUInt32BE(length, 6);
  }
  if (!masked) {
    header.fill(0, size - 4);
    return [header, ...payload];
  }
  const mask = randomBytes(4);
  header.set(mask, size - 4);
  const copy = Buffer.allocUnsafe(length);
  let at = 0;
  for (const part of payload) {
    for (let i = 0; i < part.length; i++, at++) copy[at] = (part[i] as number) ^ (mask[at & 3] as number);
  }
  return [header, copy];
}
