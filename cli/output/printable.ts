/**
 * What a terminal may be told. Names, reasons and outputs come from devices, and a control character among
 * them could move the cursor, rewrite what stands there, or set the clipboard. So all that is printed passes
 * through here: only newlines, tabs and the sequences that this program makes itself (`control`) are left.
 */
import { randomBytes } from 'node:crypto';
import type { OutputStream, Shell } from '../shell.ts';

/** Control characters but tab and newline, and what turns the direction of text around or breaks lines. */
const UNSAFE = /(?![\t\n])[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/u;
const EVERY_UNSAFE = /(?:(?![\t\n])[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}])+/gu;

/** Nobody outside knows it, so nobody can have it printed. */
const MARK = `\u0001${randomBytes(12).toString('base64url')}`;
const OWN_OR_UNSAFE = new RegExp(`${MARK}([0-9]+[A-Za-z])|${EVERY_UNSAFE.source}`, 'gu');

/** A control sequence of this program's own: `1m` for bold, `2K` to clear the line. */
export function control(sequence: string): string {
  return MARK + sequence;
}

/** The text as it may be printed; every run of what may not becomes a space. */
export function printable(text: string): string {
  if (!UNSAFE.test(text)) return text;
  return text.replace(OWN_OR_UNSAFE, (_, own: string | undefined) =>
    own === undefined ? ' ' : `\u001b[${own}`,
  );
}

/** The same for what must stay on its line. */
export function onOneLine(text: string): string {
  return text.replace(/[\n\t]+/g, ' ');
}

/**
 * JSON that is as safe to print, and means the same: what is left unescaped by `JSON.stringify` is escaped.
 */
export function printableJson(json: string): string {
  if (!UNSAFE.test(json)) return json;
  return json.replace(EVERY_UNSAFE, (run) =>
    [...run].map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`).join(''),
  );
}

/** A shell that prints nothing but what is printable. */
export function printing(shell: Shell): Shell {
  return Object.assign(Object.create(shell) as Shell, {
    stdout: filtered(shell.stdout),
    stderr: filtered(shell.stderr),
    announce: (text: string) => shell.announce(printable(text)),
    confirm: (question: string) => shell.confirm(printable(question)),
  });
}

function filtered(stream: OutputStream): OutputStream {
  return {
    write: (text) => stream.write(printable(text)),
    get isTTY() {
      return stream.isTTY;
    },
    get columns() {
      return stream.columns;
    },
  };
}
