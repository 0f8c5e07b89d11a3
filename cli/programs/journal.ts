/**
 * Priorities for systemd's journal (sd-daemon(3)): `<4>` before a line that goes there, nothing otherwise.
 */
import { fstatSync } from 'node:fs';

/** By pino's levels. */
const PRIORITIES: Record<string, string> = {
  10: '<7>',
  20: '<7>',
  30: '<6>',
  40: '<4>',
  50: '<3>',
  60: '<2>',
};

/**
 * Whether systemd reads this descriptor: `JOURNAL_STREAM` names the device and inode of what it connected.
 */
export function goesToJournal(fd: number, env: NodeJS.ProcessEnv = process.env): boolean {
  if (!env.JOURNAL_STREAM) return false;
  const { dev, ino } = fstatSync(fd);
  return env.JOURNAL_STREAM === `${dev}:${ino}`;
}

/** A line of pino's begins with its level. */
export function withPriority(line: string): string {
  return `${PRIORITIES[line.slice('{"level":'.length, '{"level":'.length + 2)] ?? ''}${line}`;
}
