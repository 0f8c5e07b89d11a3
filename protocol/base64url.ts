/** Base64url without padding (RFC 4648 section 5), for Node and browsers alike. */
export function toBase64url(bytes: Uint8Array): string {
  let binary = '';
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
}

/** Throws `TypeError` for what is not base64url, or not `length` bytes where a length is given. */
export function fromBase64url(text: unknown, length?: number): Uint8Array<ArrayBuffer> {
  if (typeof text !== 'string' || !/^[A-Za-z0-9_-]*$/.test(text) || text.length % 4 === 1)
    throw new TypeError('not base64url');
  const bytes = Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0));
  if (length !== undefined && bytes.length !== length) throw new TypeError(`not ${length} bytes`);
  return bytes;
}
