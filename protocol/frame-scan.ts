/**
 * One pass over the bytes of a frame before anything is built from them. MessagePack decoders know more than
 * the protocol allows; msgpackr's own extensions include references, with which 400 bytes decode to a
 * structure that takes minutes to walk. This scan keeps what F-4 and F-5 forbid away from the decoder.
 */
import { isUtf8 } from './utf8.ts';

/** A frame that breaks a rule; the gateway closes with 4400 and `message` as the reason. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
  readonly rule: string;
  constructor(rule: string, what: string) {
    super(`${rule}: ${what}`);
    this.rule = rule;
  }
}

const MAX_HIGH = 0x1fffff;

/**
 * Passes if `bytes` are exactly one MessagePack value (F-2) of the plain types with text keys, nested at most
 * `depth` deep (F-4), with finite numbers and integers of at most 2^53 - 1 (F-5), and text that is valid
 * UTF-8 (F-6). Throws `ProtocolError`. Linear in time.
 */
export function scanFrame(bytes: Uint8Array, depth: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = bytes.length;
  // Values still expected in each open container, and whether it is a map, where every second value is a key.
  const left: number[] = [];
  const maps: boolean[] = [];
  let at = 0;
  let expected = 1;
  let inMap = false;

  const need = (count: number): void => {
    if (count > end - at) throw new ProtocolError('F-2', 'cut short');
  };
  const skip = (count: number): void => {
    need(count);
    at += count;
  };
  const text = (count: number): void => {
    need(count);
    if (!isUtf8(bytes, at, at + count)) throw new ProtocolError('F-6', 'text that is not UTF-8');
    at += count;
  };
  const float = (single: boolean): void => {
    need(single ? 4 : 8);
    const value = single ? view.getFloat32(at) : view.getFloat64(at);
    if (!Number.isFinite(value)) throw new ProtocolError('F-5', 'a number that is not finite');
    at += single ? 4 : 8;
  };
  /** Of 64 bits. */
  const integer = (unsigned: boolean): void => {
    need(8);
    const high = unsigned ? view.getUint32(at) : view.getInt32(at);
    const lowest = high === -MAX_HIGH - 1 && view.getUint32(at + 4) === 0;
    if (high > MAX_HIGH || high < -MAX_HIGH - 1 || lowest)
      throw new ProtocolError('F-5', 'an integer beyond 2^53 - 1');
    at += 8;
  };
  /** `width`: 1, 2 or 4 bytes. */
  const length = (width: number): number => {
    need(width);
    const value = width === 1 ? view.getUint8(at) : width === 2 ? view.getUint16(at) : view.getUint32(at);
    at += width;
    return value;
  };
  const open = (count: number, map: boolean): void => {
    if (left.length === depth) throw new ProtocolError('F-4', 'nested too deeply');
    // Each value takes a byte at least.
    need(count);
    left.push(expected);
    maps.push(inMap);
    expected = count;
    inMap = map;
  };

  for (;;) {
    while (expected === 0) {
      const outer = left.pop();
      if (outer === undefined) {
        if (at !== end) throw new ProtocolError('F-2', 'something follows the value');
        return;
      }
      expected = outer;
      inMap = maps.pop() === true;
    }
    const isKey = inMap && (expected & 1) === 0;
    expected--;
    need(1);
    const tag = view.getUint8(at++);
    const isText = (tag >= 0xa0 && tag <= 0xbf) || (tag >= 0xd9 && tag <= 0xdb);
    if (isKey && !isText) throw new ProtocolError('F-4', 'a key that is not text');

    if (tag <= 0x7f || tag >= 0xe0) continue;
    if (tag <= 0x8f) open((tag & 0x0f) * 2, true);
    else if (tag <= 0x9f) open(tag & 0x0f, false);
    else if (tag <= 0xbf) text(tag & 0x1f);
    else if (isText) text(length(1 << (tag - 0xd9)));
    else if (tag >= 0xdc) open(length(tag & 1 ? 4 : 2) * (tag < 0xde ? 1 : 2), tag >= 0xde);
    else if (tag === 0xcf || tag === 0xd3) integer(tag === 0xcf);
    else if (tag >= 0xcc && tag <= 0xd2) skip(1 << (tag & 3));
    else if (tag === 0xca || tag === 0xcb) float(tag === 0xca);
    else if (tag >= 0xc4 && tag <= 0xc6) skip(length(1 << (tag - 0xc4)));
    else if (tag !== 0xc0 && tag !== 0xc2 && tag !== 0xc3)
      throw new ProtocolError('F-4', 'an extension type');
  }
}
