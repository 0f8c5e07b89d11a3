/**
 * How the bus writes its own values into Redis. Apart from the protocol's codec on purpose: these values
 * never reach a device, hold many frames at once, and so are not held to a frame's bounds.
 */
import { Packr } from 'msgpackr';

const packr = new Packr({
  useRecords: false,
  variableMapSize: true,
  mapsAsObjects: true,
  // 'auto': a 64-bit integer that a double holds exactly is a number; the type declarations lag behind.
  int64AsType: 'auto' as 'number',
});

/** One value as MessagePack. The result may be a view into a larger buffer, which is never rewritten. */
export function encode(value: unknown): Buffer {
  return packr.pack(value);
}

/**
 * The value that `encode` was given; the caller vouches for its shape. Binary parts are views into `bytes`.
 * Throws when `bytes` is not exactly one MessagePack value.
 */
export function decode<T>(bytes: Uint8Array): T {
  return packr.unpack(bytes) as T;
}
