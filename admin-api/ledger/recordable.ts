/**
 * Turns what a device returned into JSON, which has fewer types than MessagePack: bytes become
 * `{ "base64": "..." }`; large integers, infinities and NaN become text.
 */

const LONG = 512;

/** Whether the value is longer than a few hundred bytes; stops reading as soon as that is clear. */
export function isLong(value: unknown): boolean {
  return weigh(value, LONG) < 0;
}

/** `room` minus the rough size of `value`. */
function weigh(value: unknown, room: number): number {
  if (typeof value === 'string') return room - value.length;
  if (typeof value !== 'object' || value === null) return room - 8;
  if (ArrayBuffer.isView(value)) return room - value.byteLength;
  let left = room;
  for (const [key, item] of Object.entries(value)) {
    left = weigh(item, left - key.length);
    if (left < 0) return left;
  }
  return left;
}

/** Throws an `Error` for a value nested deeper than `depth`. Copies only the parts that change. */
export function recordable(value: unknown, depth: number): unknown {
  switch (typeof value) {
    case 'bigint':
      return value.toString();
    case 'number':
      return Number.isFinite(value) ? value : String(value);
    case 'object':
      return value === null ? null : nested(value, depth);
    case 'function':
    case 'symbol':
      throw new Error('a value that MessagePack does not have');
    default:
      return value;
  }
}

function nested(value: object, depth: number): unknown {
  if (ArrayBuffer.isView(value)) {
    return { base64: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64') };
  }
  if (depth === 0) throw new Error('nested too deep');
  if (Array.isArray(value)) {
    const items = value.map((item) => recordable(item, depth - 1));
    return items.some((item, index) => item !== value[index]) ? items : value;
  }
  const entries = Object.entries(value);
  const changed = entries.map(([key, item]) => [key, recordable(item, depth - 1)] as const);
  return changed.some(([, item], index) => item !== entries[index]?.[1])
    ? Object.fromEntries(changed)
    : value;
}
