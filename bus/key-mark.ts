/**
 * Tells the keys apart that one device had, in a few bytes: what begins a raw public key. A number that takes
 * no memory of its own.
 */
export function keyMark(publicKey: Uint8Array): number {
  const { buffer, byteOffset, byteLength } = publicKey;
  return new DataView(buffer, byteOffset, byteLength).getUint32(0) >>> 1;
}
