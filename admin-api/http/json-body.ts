/**
 * Bodies are JSON in UTF-8 with bounded nesting: parsing and checking a body nested a hundred thousand levels
 * deep would block a core or overflow the stack.
 */
import { isUtf8 } from 'node:buffer';
import { Problem } from '../problems.ts';
import type { App } from './operation.ts';

/** `args` may be nested 16 deep; the members around it add a few levels. */
const DEPTH_MAX = 32;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPENING = new Set([0x5b, 0x7b]);
const CLOSING = new Set([0x5d, 0x7d]);

export function acceptJsonOnly(app: App): void {
  const parse = app.getDefaultJsonParser('error', 'error');
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    // An announced but empty body counts as no body; the schema says whether one is needed.
    if (body.length === 0) return done(null, undefined);
    if (!isUtf8(body as Buffer)) return done(new Problem('bad-request', 'The body is not UTF-8.'));
    const text = body.toString();
    if (isNestedDeeper(text, DEPTH_MAX)) {
      return done(new Problem('bad-request', `The body is nested deeper than ${DEPTH_MAX} levels.`));
    }
    parse(request, text, done);
  });
}

/** Whether JSON nests arrays and objects deeper than `max`. Terminates for any other text too. */
export function isNestedDeeper(text: string, max: number): boolean {
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit === QUOTE) {
      at = endOfString(text, at);
    } else if (OPENING.has(unit)) {
      if (++depth > max) return true;
    } else if (CLOSING.has(unit)) {
      depth--;
    }
  }
  return false;
}

/** End of the string that begins at `start`: its closing quote, or the end of the text. */
function endOfString(text: string, start: number): number {
  let at = start;
  for (;;) {
    at = text.indexOf('"', at + 1);
    if (at === -1) return text.length;
    let backslashes = 0;
    while (text.charCodeAt(at - 1 - backslashes) === BACKSLASH) backslashes++;
    if (backslashes % 2 === 0) return at;
  }
}
