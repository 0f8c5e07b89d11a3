/** MessagePack in Node; msgpack-web.ts stands in for it in browsers, by `imports` in package.json. */
import { Packr } from 'msgpackr';

const packr = new Packr({
  useRecords: false,
  variableMapSize: true,
  mapsAsObjects: true,
  // 'auto': a 64-bit integer that a double holds exactly is a number; the type declarations lag behind.
  int64AsType: 'auto' as 'number',
  encodeUndefinedAsNil: true,
});

export function pack(value: unknown): Uint8Array<ArrayBuffer> {
  // msgpackr returns a view into a pooled buffer that it never rewrites; the copy keeps a frame from pinning
  // the pool.
  return new Uint8Array(packr.pack(value));
}

/** Throws for what is not exactly one value. */
export function unpack(bytes: Uint8Array): unknown {
  return packr.unpack(bytes);
}
