import { Type } from 'typebox';
import type { TimeSpan } from '../../store/records.ts';
import { Time } from './common.ts';

/** Query members for a list of what has a time: `since` inclusive, `until` exclusive. */
export function spanQuery(what: string) {
  return {
    since: Type.Optional(Time(`Only what was ${what} at this time or later.`)),
    until: Type.Optional(Time(`Only what was ${what} before this time.`)),
  };
}

export function spanOf({ since, until }: { since?: string; until?: string }): TimeSpan {
  return {
    ...(since !== undefined && { since: Date.parse(since) }),
    ...(until !== undefined && { until: Date.parse(until) }),
  };
}
