import { customAlphabet } from 'nanoid';

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';
const random = customAlphabet(ALPHABET, 8);

let last = 0;

/**
 * An identifier that sorts by its creation time in microseconds and is unique in the process, whatever the
 * wall clock does: the letter `kind`, eleven characters of time, eight random ones. Commands are delivered
 * and superseded in this order.
 */
export function sortableId(kind: string, now = Date.now()): string {
  last = Math.max(last + 1, now * 1000);
  let time = '';
  for (let rest = last, i = 0; i < 11; i++, rest = Math.floor(rest / 32)) time = ALPHABET[rest % 32] + time;
  return kind + time + random();
}
