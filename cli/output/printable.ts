/**
 * Text that is safe for a terminal. Names, reasons and outputs come from devices, and a control character in
 * them could move the cursor, rewrite the screen, or set the clipboard. So all output passes through here:
 * only newlines, tabs and this program's own sequences (`control`) are left.
 */
import { randomBytes } from 'node:crypto';
import type { OutputStream, Shell } from '../shell.ts';

/**
 * Control characters except tab and newline, and characters that change the direction of text or break lines.
 */
const UNSAFE = /(?![\t\n])[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/u;
const EVERY_UNSAFE = /(?:(?![\t\n])[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}])+/gu;

/** Nobody outside knows it, so nobody can inject it. */
const MARK = `\u0001${randomBytes(12).toString('base64url')}`;
const OWN_OR_UNSAFE = new RegExp(`${MARK}([0-9]+[A-Za-z])|${EVERY_UNSAFE.source}`, 'gu');

/** A control sequence of this program's own: `1m` for bold, `2K` to clear the line. */
export function control(sequence: string): string {
  return MARK + sequence;
}

/** The text made safe to print; each run of unsafe characters becomes a space. */
export function printable(text: string): string {
  if (!UNSAFE.test(text)) return text;
  return text.replace(OWN_OR_UNSAFE, (_, own: string | undefined) =>
    own === undefined ? ' ' : `\u001b[${own}`,
  );
}

/** The same for text that must stay on one line. */
export function onOneLine(text: string): string {
  return text.replace(/[\n\t]+/g, ' ');
}

/** JSON with the same meaning that is safe to print: escapes what `JSON.stringify` leaves unescaped. */
export function printableJson(json: string): string {
  if (!UNSAFE.test(json)) return json;
  return json.replace(EVERY_UNSAFE, (run) =>
    [...run].map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`).join(''),
  );
}

/** A shell that prints only safe text. */
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
