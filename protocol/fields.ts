/**
 * Fields of a decoded map, each checked against its type and bounds (F-5, F-6). All throw `ProtocolError`.
 */
import { unpack } from '#msgpack';
import { ProtocolError } from './frame-scan.ts';
import { ID_PATTERN, LIMITS } from './limits.ts';

export type Fields = Record<string, unknown>;

/** A frame, or a body within one, as the fields of its map (F-2 to F-6). Throws `ProtocolError`. */
export function decodeMap(bytes: Uint8Array, maxBytes: number): Fields {
  if (bytes.length > maxBytes) throw new ProtocolError('F-3', 'frame too long');
  return mapOf(decode(bytes, LIMITS.depth + 1), 'frame', 'F-2');
}

/** `rule`: the one that a value of another type breaks. */
export function mapOf(value: unknown, name: string, rule = 'F-6'): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Uint8Array) {
    throw new ProtocolError(rule, `${name}: a map`);
  }
  return value as Fields;
}

/** Whether an optional field is there: absent and nil are the same (F-6). */
export function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null;
}

/** A signed body of at most `maxBytes`. */
export function signedBody(
  fields: Fields,
  maxBytes: number,
): { body: Uint8Array<ArrayBuffer>; sig: Uint8Array<ArrayBuffer> } {
  return {
    body: bytesOf(fields, 'body', 1, maxBytes),
    sig: bytesOf(fields, 'sig', LIMITS.signatureBytes),
  };
}

/** One MessagePack value, nested at most `depth` deep. Throws `ProtocolError`. */
export function decode(bytes: Uint8Array, depth: number): unknown {
  return unpack(bytes, depth);
}

export function text(fields: Fields, key: string, max: number): string {
  const value = fields[key];
  if (typeof value !== 'string' || value.length > max) {
    throw new ProtocolError('F-6', `${key}: text of at most ${max} characters`);
  }
  return value;
}

export function optionalText(fields: Fields, key: string, max: number): string | undefined {
  return isGiven(fields[key]) ? text(fields, key, max) : undefined;
}

export function id(fields: Fields, key: string): string {
  const value = fields[key];
  if (typeof value !== 'string' || !ID_PATTERN.test(value)) {
    throw new ProtocolError('F-6', `${key}: an identifier`);
  }
  return value;
}

export function integer(fields: Fields, key: string, min = 0, max = Number.MAX_SAFE_INTEGER): number {
  const value = fields[key];
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
    throw new ProtocolError('F-5', `${key}: an integer from ${min} to ${max}`);
  }
  return value;
}

export function bytesOf(fields: Fields, key: string, min: number, max = min): Uint8Array<ArrayBuffer> {
  const value = fields[key];
  if (!(value instanceof Uint8Array) || value.length < min || value.length > max) {
    throw new ProtocolError('F-6', `${key}: ${min === max ? min : `${min} to ${max}`} bytes of binary`);
  }
  return new Uint8Array(value);
}

export function oneOf<T extends string>(fields: Fields, key: string, values: readonly T[]): T {
  const value = fields[key];
  if (!(values as readonly unknown[]).includes(value)) {
    throw new ProtocolError('F-6', `${key}: one of ${values.join(', ')}`);
  }
  return value as T;
}

export function list<T>(fields: Fields, key: string, max: number, item: (value: unknown) => T): T[] {
  const value = fields[key];
  if (!Array.isArray(value) || value.length > max) {
    throw new ProtocolError('F-6', `${key}: an array of at most ${max}`);
  }
  return value.map(item);
}

/** A copy without undefined members: deleting them would make the object slow to read and to encode. */
export function defined<T extends object>(value: T): T {
  const copy: Partial<T> = {};
  for (const key in value) if (value[key] !== undefined) copy[key] = value[key];
  return copy as T;
}
