/** `--since` and `--until`: a time, or how long ago. */
import { type Command, InvalidArgumentError } from 'commander';
import type { Flags } from '../command-line.ts';
import { parseDuration } from '../config/duration.ts';

const TIME = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d))?$/;

/** RFC 3339 in UTC, from `15m` (ago), `2030-01-31` (its beginning in UTC) or `2030-01-31T12:00:00Z`. */
export function timeFlag(text: string, now = Date.now()): string {
  const ago = parseDuration(text);
  const at = ago !== null ? now - ago : TIME.test(text) ? Date.parse(text) : Number.NaN;
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) {
    throw new InvalidArgumentError('Expected a time (2030-01-31T12:00:00Z) or how long ago (15m).');
  }
  return date.toISOString();
}

/** `what` says which time counts: `issued`. */
export function withSpan(command: Command, what: string): Command {
  const read = (text: string) => timeFlag(text);
  return command
    .option('--since <time>', `only those ${what} then or later: a time, or how long ago (15m)`, read)
    .option('--until <time>', `only those ${what} before then`, read);
}

export function spanOf(flags: Flags): { since: string | undefined; until: string | undefined } {
  return { since: flags.since as string | undefined, until: flags.until as string | undefined };
}
