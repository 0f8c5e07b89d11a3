/** Which of a Redis Cluster's slots a key is in (Redis Cluster specification, "Key distribution model"). */
export const SLOTS = 16_384;

const CRC_TABLE = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8;
  for (let bit = 0; bit < 8; bit += 1) crc = (crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ 0x1021;
  return crc & 0xffff;
});

/**
 * CRC-16/XMODEM of the key, or of its hash tag: the part between the first `{` and the next `}`, unless that
 * is empty.
 */
export function slotOf(key: string): number {
  const open = key.indexOf('{');
  const end = open === -1 ? -1 : key.indexOf('}', open + 1);
  const hashed = end > open + 1 ? key.slice(open + 1, end) : key;
  let crc = 0;
  for (const byte of Buffer.from(hashed)) {
    crc = ((crc << 8) ^ (CRC_TABLE[(crc >> 8) ^ byte] as number)) & 0xffff;
  }
  return crc % SLOTS;
}
