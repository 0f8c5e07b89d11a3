/** MessagePack written by hand, for vectors that no well-behaved encoder writes. All functions return hex. */
import { Buffer } from 'node:buffer';

const byte = (value: number): string => value.toString(16).padStart(2, '0');

export function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

/** Text of at most 31 bytes. */
export function str(value: string): string {
  const bytes = Buffer.from(value);
  return byte(0xa0 + bytes.length) + bytes.toString('hex');
}

export function bin(bytes: Uint8Array): string {
  return `c4${byte(bytes.length)}${hexOf(bytes)}`;
}

export function float64(value: number): string {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(value);
  return `cb${bytes.toString('hex')}`;
}

export function float32(value: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatBE(value);
  return `ca${bytes.toString('hex')}`;
}

export function uint64(value: bigint): string {
  return `cf${value.toString(16).padStart(16, '0')}`;
}

/** A map of at most 15 entries whose values are hex already. */
export function map(fields: Record<string, string>): string {
  const entries = Object.entries(fields);
  return byte(0x80 + entries.length) + entries.map(([key, value]) => str(key) + value).join('');
}

/** An array of at most 15 values that are hex already. */
export function array(...values: string[]): string {
  return byte(0x90 + values.length) + values.join('');
}

/** Text of so many letters, with a length of two bytes. */
export function long(length: number): string {
  return `da${length.toString(16).padStart(4, '0')}${'61'.repeat(length)}`;
}

/** An array of one value many times, with a length of two bytes. */
export function many(count: number, item: string): string {
  return `dc${count.toString(16).padStart(4, '0')}${item.repeat(count)}`;
}

/** `depth` arrays inside each other. */
export function nested(depth: number): string {
  return `${'91'.repeat(depth - 1)}90`;
}

export type View =
  | null
  | boolean
  | number
  | string
  | readonly View[]
  | { readonly hex: string }
  | { readonly [key: string]: View };

/** A value as JSON: binary becomes `{ "hex": ... }`. */
export function view(value: unknown): View {
  if (value instanceof Uint8Array) return { hex: hexOf(value) };
  if (Array.isArray(value)) return value.map(view);
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, view(item)]));
  }
  return value as View;
}
