/**
 * PostgreSQL keeps no NUL in text and refuses half a surrogate pair in JSON, and one such character in what a
 * device said would make a whole batch fail for ever. Both databases keep U+FFFD instead.
 */
const UNSTORABLE = /[\0\ud800-\udfff]/;
const EVERY_UNSTORABLE = /[\0\p{Surrogate}]/gu;

export function storableText(text: string): string {
  return UNSTORABLE.test(text) ? text.replace(EVERY_UNSTORABLE, '\ufffd') : text;
}
