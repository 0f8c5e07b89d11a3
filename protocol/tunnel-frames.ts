/**
 * The frames of a tunnel (T-6 to T-13), which travel sealed from end to end: gateways cannot read them. One
 * WebSocket message is one frame; numbers are big-endian; offsets count the bytes of one direction of one
 * stream from 0.
 */
import { utf8 } from './bytes.ts';
import { TUNNEL_LIMITS } from './tunnels.ts';

export const TUNNEL_VERSION = 1;

export const FRAME = {
  hello: 1,
  open: 2,
  opened: 3,
  data: 4,
  credit: 5,
  fin: 6,
  reset: 7,
  received: 8,
} as const;

/** Why a stream was reset (T-11). */
export const RESET_CODES = {
  /** The device's allow-list or the tunnel does not permit it. */
  refused: 1,
  /** Nothing answers there. */
  unreachable: 2,
  /** The program at that end gave up, or its connection broke. */
  aborted: 3,
  /** Too many streams. */
  'too-many': 4,
  /** The tunnel ended, or the other end no longer knows the stream. */
  lost: 5,
} as const;
export type ResetCode = keyof typeof RESET_CODES;

/** What an end reports about each of its open streams. */
export interface HelloStream {
  stream: number;
  /** The device has connected it. */
  opened: boolean;
  /** Bytes received, and one more when FIN was. */
  received: number;
  /** Offset up to which the other end may send. */
  credit: number;
}

export type TunnelFrame =
  | { type: 'hello'; version: number; pair: number; window: number; highest: number; streams: HelloStream[] }
  | { type: 'open'; stream: number; host: string; port: number }
  | { type: 'opened'; stream: number }
  | { type: 'data'; stream: number; offset: number; bytes: Uint8Array }
  | { type: 'credit'; stream: number; offset: number }
  | { type: 'fin'; stream: number; offset: number }
  | { type: 'reset'; stream: number; code: ResetCode | 'unknown'; reason: string }
  | { type: 'received'; bytes: number };

/** A frame, or a sequence of frames, that breaks a rule of section T. */
export class TunnelError extends Error {
  override readonly name = 'TunnelError';
  readonly rule: string;
  constructor(rule: string, message: string) {
    super(`${rule}: ${message}`);
    this.rule = rule;
  }
}

/** Bytes of a DATA frame before the stream's own. */
export const DATA_HEADER = 13;
const HEADER = 5;
const HELLO_HEADER = 18;
const HELLO_STREAM = 21;
const OFFSET_MAX = Number.MAX_SAFE_INTEGER - 2 ** 32;

const strictText = new TextDecoder('utf-8', { fatal: true });

function make(type: number, stream: number, more: number): { bytes: Uint8Array; view: DataView } {
  const bytes = new Uint8Array(HEADER + more);
  const view = new DataView(bytes.buffer);
  bytes[0] = type;
  view.setUint32(1, stream);
  return { bytes, view };
}

function setOffset(view: DataView, at: number, offset: number): void {
  view.setUint32(at, Math.floor(offset / 2 ** 32));
  view.setUint32(at + 4, offset % 2 ** 32);
}

export function encodeHello(
  hello: Omit<Extract<TunnelFrame, { type: 'hello' }>, 'type' | 'version'>,
): Uint8Array {
  const { bytes, view } = make(FRAME.hello, 0, HELLO_HEADER - HEADER + hello.streams.length * HELLO_STREAM);
  bytes[5] = TUNNEL_VERSION;
  view.setUint32(6, hello.pair);
  view.setUint32(10, hello.window);
  view.setUint32(14, hello.highest);
  let at = HELLO_HEADER;
  for (const { stream, opened, received, credit } of hello.streams) {
    view.setUint32(at, stream);
    bytes[at + 4] = opened ? 1 : 0;
    setOffset(view, at + 5, received);
    setOffset(view, at + 13, credit);
    at += HELLO_STREAM;
  }
  return bytes;
}

export function encodeOpen(stream: number, host: string, port: number): Uint8Array {
  const name = utf8.encode(host);
  const { bytes, view } = make(FRAME.open, stream, 2 + name.length);
  view.setUint16(5, port);
  bytes.set(name, 7);
  return bytes;
}

export function encodeOpened(stream: number): Uint8Array {
  return make(FRAME.opened, stream, 0).bytes;
}

/** Writes the header of a DATA frame into its first `DATA_HEADER` bytes; the stream's own bytes follow. */
export function writeDataHeader(frame: Uint8Array, stream: number, offset: number): void {
  const high = Math.floor(offset / 2 ** 32);
  frame[0] = FRAME.data;
  frame[1] = stream >>> 24;
  frame[2] = stream >>> 16;
  frame[3] = stream >>> 8;
  frame[4] = stream;
  frame[5] = high >>> 24;
  frame[6] = high >>> 16;
  frame[7] = high >>> 8;
  frame[8] = high;
  const low = offset % 2 ** 32;
  frame[9] = low >>> 24;
  frame[10] = low >>> 16;
  frame[11] = low >>> 8;
  frame[12] = low;
}

export function encodeCredit(stream: number, offset: number): Uint8Array {
  const { bytes, view } = make(FRAME.credit, stream, 8);
  setOffset(view, 5, offset);
  return bytes;
}

export function encodeFin(stream: number, offset: number): Uint8Array {
  const { bytes, view } = make(FRAME.fin, stream, 8);
  setOffset(view, 5, offset);
  return bytes;
}

/** A reason that is too long is cut, between two characters. */
export function encodeReset(stream: number, code: ResetCode, reason: string): Uint8Array {
  const room = new Uint8Array(TUNNEL_LIMITS.reasonLength);
  const words = room.subarray(0, utf8.encodeInto(reason, room).written);
  const { bytes } = make(FRAME.reset, stream, 1 + words.length);
  bytes[5] = RESET_CODES[code];
  bytes.set(words, 6);
  return bytes;
}

export function encodeReceived(total: number): Uint8Array {
  const { bytes, view } = make(FRAME.received, 0, 8);
  setOffset(view, 5, total);
  return bytes;
}

/**
 * `bytes` of a DATA frame is a part of the message, not a copy. Throws `TunnelError` for whatever is not a
 * frame (T-6).
 */
export function decodeTunnelFrame(message: Uint8Array): TunnelFrame {
  if (message.length < HEADER) throw new TunnelError('T-6', 'shorter than a frame');
  if (message.length > TUNNEL_LIMITS.frameBytes) throw new TunnelError('T-6', 'longer than a frame');
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  const stream = view.getUint32(1);
  const type = message[0];
  if ((stream === 0) !== (type === FRAME.hello || type === FRAME.received)) {
    throw new TunnelError('T-6', `type ${type} of stream ${stream}`);
  }
  switch (type) {
    case FRAME.data: {
      const length = message.length - DATA_HEADER;
      if (length < 1 || length > TUNNEL_LIMITS.dataBytes)
        throw new TunnelError('T-6', `${length} bytes of data`);
      return { type: 'data', stream, offset: getOffset(view, 5), bytes: message.subarray(DATA_HEADER) };
    }
    case FRAME.credit:
      hasLength(message, 13);
      return { type: 'credit', stream, offset: getOffset(view, 5) };
    case FRAME.received:
      hasLength(message, 13);
      return { type: 'received', bytes: getOffset(view, 5) };
    case FRAME.fin:
      hasLength(message, 13);
      return { type: 'fin', stream, offset: getOffset(view, 5) };
    case FRAME.opened:
      hasLength(message, HEADER);
      return { type: 'opened', stream };
    case FRAME.open:
      return decodeOpen(message, view, stream);
    case FRAME.reset:
      return decodeReset(message, stream);
    case FRAME.hello:
      return decodeHello(message, view);
    default:
      throw new TunnelError('T-6', `unknown type ${type}`);
  }
}

function decodeOpen(message: Uint8Array, view: DataView, stream: number): TunnelFrame {
  if (message.length < 8) throw new TunnelError('T-6', 'open without a host');
  const port = view.getUint16(5);
  const host = decodeText(message.subarray(7));
  if (port === 0 || host.length > TUNNEL_LIMITS.hostLength)
    throw new TunnelError('T-6', 'host or port of open');
  return { type: 'open', stream, host, port };
}

function decodeReset(message: Uint8Array, stream: number): TunnelFrame {
  if (message.length < 6 || message.length > 6 + TUNNEL_LIMITS.reasonLength) {
    throw new TunnelError('T-6', 'length of reset');
  }
  const code = (Object.keys(RESET_CODES) as ResetCode[]).find((name) => RESET_CODES[name] === message[5]);
  const reason = decodeText(message.subarray(6));
  return { type: 'reset', stream, code: code ?? 'unknown', reason };
}

function decodeHello(message: Uint8Array, view: DataView): TunnelFrame {
  const rest = message.length - HELLO_HEADER;
  if (rest < 0 || rest % HELLO_STREAM !== 0) throw new TunnelError('T-6', 'length of hello');
  if (rest / HELLO_STREAM > TUNNEL_LIMITS.streams) throw new TunnelError('T-6', 'streams of hello');
  const streams: HelloStream[] = [];
  for (let at = HELLO_HEADER; at < message.length; at += HELLO_STREAM) {
    streams.push({
      stream: view.getUint32(at),
      opened: ((message[at + 4] ?? 0) & 1) === 1,
      received: getOffset(view, at + 5),
      credit: getOffset(view, at + 13),
    });
  }
  return {
    type: 'hello',
    version: message[5] ?? 0,
    pair: view.getUint32(6),
    window: view.getUint32(10),
    highest: view.getUint32(14),
    streams,
  };
}

function hasLength(message: Uint8Array, length: number): void {
  if (message.length !== length)
    throw new TunnelError('T-6', `${message.length} bytes of type ${message[0]}`);
}

function getOffset(view: DataView, at: number): number {
  const offset = view.getUint32(at) * 2 ** 32 + view.getUint32(at + 4);
  if (offset > OFFSET_MAX) throw new TunnelError('T-6', 'an offset beyond all bounds');
  return offset;
}

function decodeText(bytes: Uint8Array): string {
  try {
    return strictText.decode(bytes);
  } catch {
    throw new TunnelError('T-6', 'text that is not UTF-8');
  }
}
