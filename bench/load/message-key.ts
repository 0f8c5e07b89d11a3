/** The word before a message's first space, which differs for each publish. */
export function messageKey(payload: Uint8Array): string {
  const end = payload.indexOf(32);
  const word = payload.subarray(0, Math.min(end < 0 ? 16 : end, 64));
  return Buffer.from(word.buffer, word.byteOffset, word.length).toString('latin1');
}
