/**
 * MessagePack in browsers: a third of msgpackr's size, and without `new Function`, which strict pages forbid.
 */
import { Decoder, Encoder } from '@msgpack/msgpack';

const encoder = new Encoder();
const decoder = new Decoder();

export function pack(value: unknown): Uint8Array<ArrayBuffer> {
  return encoder.encode(value) as Uint8Array<ArrayBuffer>;
}

/** Throws for what is not exactly one value. */
export function unpack(bytes: Uint8Array): unknown {
  return decoder.decode(bytes);
}
