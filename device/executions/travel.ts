/**
 * Checks a handler's data: refuses values that would arrive as something else (PROTOCOL.md, F-4 to F-6, R-4).
 */
import { LIMITS } from '../../protocol/index.ts';
import { clip } from '../platform/clip.ts';

/** Names the part of the data that cannot travel, and why. */
export class CannotTravel extends Error {
  override readonly name = 'CannotTravel';
}

/**
 * A copy of plain data: null, booleans, finite numbers, text, and arrays and plain objects of these. Objects
 * with `toJSON` are replaced by its result, undefined fields are left out, and text loses NULs and halves of
 * characters. Throws `CannotTravel`.
 */
export function travelling(data: unknown): unknown {
  const room = { bytes: LIMITS.resultBytes };
  return copy(data, '', [], room);
}

function copy(value: unknown, path: string, above: readonly object[], room: { bytes: number }): unknown {
  switch (typeof value) {
    case 'boolean':
      return spend(value, 1, room);
    case 'number':
      if (!Number.isFinite(value)) refuse(path, `is ${value}`);
      // The receiver has only one zero.
      return spend(value + 0, 1, room);
    case 'string': {
      const text = clip(value);
      return spend(text, text.length, room);
    }
    case 'object':
      if (value === null) return spend(null, 1, room);
      return container(value, path, above, room);
    default:
      return refuse(path, `is ${value === undefined ? 'undefined' : `a ${typeof value}`}`);
  }
}

function container(value: object, path: string, above: readonly object[], room: { bytes: number }): unknown {
  if (above.includes(value)) refuse(path, 'contains itself');
  if (ArrayBuffer.isView(value)) refuse(path, 'is binary: give text, for example base64');
  const { toJSON } = value as { toJSON?: unknown };
  const inside = [...above, value];
  if (typeof toJSON === 'function') return copy(toJSON.call(value, ''), path, inside, room);
  if (above.length >= LIMITS.depth) refuse(path, `is nested more than ${LIMITS.depth} deep`);
  spend(null, 1, room);
  if (Array.isArray(value)) return Array.from(value, (item, i) => copy(item, `${path}[${i}]`, inside, room));
  if (!isPlain(value)) {
    refuse(path, `is ${kindOf(value)}: give a plain object or an array, or what has a toJSON of its own`);
  }
  const made: Record<string, unknown> = {};
  for (const [key, item] of Object.entries(value)) {
    if (item === undefined) continue;
    if (key === '__proto__' || clip(key) !== key)
      refuse(path, `has a key that cannot travel: ${JSON.stringify(key)}`);
    spend(null, key.length, room);
    made[key] = copy(item, path === '' ? key : `${path}.${key}`, inside, room);
  }
  return made;
}

/** Plain in any page or context: its prototype, if any, has no prototype. */
function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value);
  return (
    prototype === null || (Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, 'valueOf'))
  );
}

function kindOf(value: object): string {
  const name = value.constructor?.name;
  return typeof name === 'string' && name !== '' ? `an instance of ${name}` : 'no plain object';
}

/** A lower bound of its bytes; stops early if it is too large anyway. */
function spend<T>(value: T, bytes: number, room: { bytes: number }): T {
  room.bytes -= bytes;
  if (room.bytes < 0) throw tooLong(LIMITS.resultBytes);
  return value;
}

export function tooLong(max: number, bytes?: number): CannotTravel {
  const size = bytes === undefined ? 'more' : `${bytes} bytes`;
  return new CannotTravel(`with it the result has ${size}, and may have ${max} bytes`);
}

function refuse(path: string, why: string): never {
  throw new CannotTravel(`${path === '' ? 'it' : clip(path, 128)} ${why}`);
}
