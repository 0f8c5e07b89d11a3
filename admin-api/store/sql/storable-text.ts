/**
 * PostgreSQL stores no NUL in text and refuses half a surrogate pair in JSON. One such character from a
 * device would make a whole batch fail again and again. Both databases store U+FFFD instead.
 */
const UNSTORABLE = /[\0\ud800-\udfff]/;
const EVERY_UNSTORABLE = /[\0\p{Surrogate}]/gu;

export function storableText(text: string): string {
  return UNSTORABLE.test(text) ? text.replace(EVERY_UNSTORABLE, '\ufffd') : text;
}
