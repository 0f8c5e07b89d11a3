/**
 * MessagePack in browsers: small, and without `new Function`, which strict pages forbid. It handles the types
 * of frames (F-6): no extension types, and no 64-bit integer that a double cannot hold.
 */
import { utf8 } from './bytes.ts';
import { ProtocolError } from './frame-scan.ts';

// A leading U+FEFF is a character of the text, not a mark to drop.
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

const HIGH = 2 ** 32;

export function pack(value: unknown): Uint8Array<ArrayBuffer> {
  const writer = new Writer();
  writer.value(value);
  return writer.written();
}

/** Exactly one value (F-2, F-4 to F-6), nested at most `depth` deep. Throws `ProtocolError`. */
export function unpack(bytes: Uint8Array, depth: number): unknown {
  const reader = new Reader(bytes, depth);
  const value = reader.value();
  reader.end();
  return value;
}

class Writer {
  #bytes = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  #at = 0;

  written(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#at);
  }

  /** Throws for values that no frame can hold: functions, symbols and big integers. */
  value(value: unknown): void {
    if (value === null || value === undefined) this.#uint(1, 0xc0);
    else if (typeof value === 'boolean') this.#uint(1, value ? 0xc3 : 0xc2);
    else if (typeof value === 'number') this.#number(value);
    else if (typeof value === 'string') {
      const text = utf8.encode(value);
      this.#head(text.length, 0xa0, 31, 0xd9);
      this.#append(text);
    } else if (value instanceof Uint8Array) {
      this.#head(value.length, 0, -1, 0xc4);
      this.#append(value);
    } else if (Array.isArray(value)) {
      this.#head(value.length, 0x90, 15, 0xdb);
      for (const item of value) this.value(item);
    } else if (typeof value === 'object') {
      const entries = Object.entries(value);
      this.#head(entries.length, 0x80, 15, 0xdd);
      for (const [key, item] of entries) {
        this.value(key);
        this.value(item);
      }
    } else throw new TypeError(`MessagePack has no ${typeof value}`);
  }

  #number(value: number): void {
    if (!Number.isSafeInteger(value)) {
      this.#uint(1, 0xcb);
      this.#room(8);
      this.#view.setFloat64(this.#at, value);
      this.#at += 8;
    } else if (value >= -32 && value < 128) this.#uint(1, value);
    else {
      const [first, limit] = value < 0 ? [0xd0, -2 * value - 1] : [0xcc, value];
      const size = limit < 2 ** 8 ? 0 : limit < 2 ** 16 ? 1 : limit < HIGH ? 2 : 3;
      this.#uint(1, first + size);
      if (size === 3) this.#uint(4, Math.floor(value / HIGH));
      this.#uint(size === 3 ? 4 : 1 << size, value);
    }
  }

  /**
   * Type and length: in one byte up to `short`, after it in 1, 2 or 4 bytes. `code` is the type with one byte
   * of length; arrays and maps have none.
   */
  #head(length: number, fixed: number, short: number, code: number): void {
    const skips = code === 0xdb || code === 0xdd;
    if (length <= short) this.#uint(1, fixed + length);
    else {
      const size = length < 2 ** 8 && !skips ? 0 : length < 2 ** 16 ? 1 : 2;
      this.#uint(1, code + size);
      this.#uint(1 << size, length);
    }
  }

  /** The lowest bytes of an integer, in two's complement. */
  #uint(size: number, value: number): void {
    this.#room(size);
    if (size === 1) this.#view.setUint8(this.#at, value);
    else if (size === 2) this.#view.setUint16(this.#at, value);
    else this.#view.setUint32(this.#at, value);
    this.#at += size;
  }

  #append(bytes: Uint8Array): void {
    this.#room(bytes.length);
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  #room(more: number): void {
    if (this.#at + more <= this.#bytes.length) return;
    const larger = new Uint8Array(2 * (this.#at + more));
    larger.set(this.#bytes);
    this.#bytes = larger;
    this.#view = new DataView(larger.buffer);
  }
}

class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;
  /** Levels of nesting that are left. */
  #depth: number;

  constructor(bytes: Uint8Array, depth: number) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#depth = depth;
  }

  end(): void {
    if (this.#at !== this.#bytes.length) throw new ProtocolError('F-2', 'something follows the value');
  }

  value(): unknown {
    const code = this.#uint(1);
    if (code < 0x80) return code;
    if (code >= 0xe0) return code - 0x100;
    if (isText(code)) return this.#text(code);
    if (code < 0xa0) return this.#nested(code < 0x90, code & 15);
    if (code >= 0xdc) return this.#nested(code >= 0xde, this.#uint(code & 1 ? 4 : 2));
    if (code >= 0xc4 && code <= 0xc6) return this.#take(this.#uint(1 << (code - 0xc4))).slice();
    if (code === 0xca || code === 0xcb) return this.#float(code === 0xca);
    return this.#scalar(code);
  }

  #scalar(code: number): unknown {
    switch (code) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xcc:
      case 0xcd:
      case 0xce:
        return this.#uint(1 << (code - 0xcc));
      case 0xd0:
        return (this.#uint(1) << 24) >> 24;
      case 0xd1:
        return (this.#uint(2) << 16) >> 16;
      case 0xd2:
        return this.#uint(4) | 0;
      case 0xcf:
        return this.#long(this.#uint(4));
      case 0xd3:
        return this.#long(this.#uint(4) | 0);
      default:
        throw new ProtocolError('F-4', 'an extension type');
    }
  }

  #float(single: boolean): number {
    const at = this.#at;
    this.#take(single ? 4 : 8);
    const value = single ? this.#view.getFloat32(at) : this.#view.getFloat64(at);
    if (!Number.isFinite(value)) throw new ProtocolError('F-5', 'a number that is not finite');
    return value;
  }

  #long(high: number): number {
    const value = high * HIGH + this.#uint(4);
    if (!Number.isSafeInteger(value)) throw new ProtocolError('F-5', 'an integer beyond 2^53 - 1');
    return value;
  }

  #nested(isMap: boolean, size: number): unknown {
    if (this.#depth-- === 0) throw new ProtocolError('F-4', 'nested too deeply');
    const value = isMap ? this.#map(size) : this.#array(size);
    this.#depth++;
    return value;
  }

  #map(size: number): Record<string, unknown> {
    const map: Record<string, unknown> = {};
    for (let index = 0; index < size; index++) {
      const code = this.#uint(1);
      if (!isText(code)) throw new ProtocolError('F-4', 'a key that is not text');
      const key = this.#text(code);
      const value = this.value();
      if (key !== '__proto__') map[key] = value;
    }
    return map;
  }

  #array(size: number): unknown[] {
    const array: unknown[] = [];
    for (let index = 0; index < size; index++) array.push(this.value());
    return array;
  }

  #text(code: number): string {
    const bytes = this.#take(code < 0xc0 ? code & 31 : this.#uint(1 << (code - 0xd9)));
    try {
      return decoder.decode(bytes);
    } catch {
      throw new ProtocolError('F-6', 'text that is not UTF-8');
    }
  }

  #uint(size: number): number {
    const at = this.#at;
    this.#take(size);
    if (size === 1) return this.#view.getUint8(at);
    return size === 2 ? this.#view.getUint16(at) : this.#view.getUint32(at);
  }

  #take(size: number): Uint8Array {
    const from = this.#at;
    this.#at += size;
    if (this.#at > this.#bytes.length) throw new ProtocolError('F-2', 'cut short');
    return this.#bytes.subarray(from, this.#at);
  }
}

function isText(code: number): boolean {
  return (code >= 0xa0 && code < 0xc0) || (code >= 0xd9 && code <= 0xdb);
}
