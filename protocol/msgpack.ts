/** MessagePack in Node; msgpack-web.ts stands in for it in browsers, by `imports` in package.json. */
import { Packr } from 'msgpackr';
import { ProtocolError, scanFrame } from './frame-scan.ts';

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

/** Exactly one value (F-2, F-4 to F-6), nested at most `depth` deep. Throws `ProtocolError`. */
export function unpack(bytes: Uint8Array, depth: number): unknown {
  scanFrame(bytes, depth);
  try {
    return packr.unpack(bytes);
  } catch {
    throw new ProtocolError('F-2', 'not one MessagePack value');
  }
}
