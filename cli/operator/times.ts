/** Times for people: how long ago, or in how long. */
import { roughDuration } from '../config/duration.ts';

/** `3m5s ago`, `in 2h`, `now`; `-` for none. */
export function relativeTime(time: string | null | undefined, now = Date.now()): string {
  if (time === null || time === undefined) return '-';
  const distance = Date.parse(time) - now;
  if (Number.isNaN(distance)) return time;
  if (Math.abs(distance) < 1_000) return 'now';
  return distance < 0 ? `${roughDuration(-distance)} ago` : `in ${roughDuration(distance)}`;
}

/** Of what has begun already: `now` where this machine's clock is behind the server's, never `in 2s`. */
export function timeAgo(time: string | null | undefined, now = Date.now()): string {
  if (time === null || time === undefined) return '-';
  return Date.parse(time) > now ? 'now' : relativeTime(time, now);
}

/** What two times are apart; `-` when one is missing. */
export function timeBetween(from: string | null, to: string | null): string {
  if (from === null || to === null) return '-';
  const ms = Date.parse(to) - Date.parse(from);
  return ms < 10_000 ? `${ms}ms` : roughDuration(ms);
}
