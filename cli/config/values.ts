/**
 * One setting's value, from text (flag, environment) or from YAML, checked against its entry in the table.
 */
import { DURATION_FORM, formatDuration, parseDuration } from './duration.ts';
import type { OptionSpec } from './options.ts';

/** The allowed values, as the end of a sentence. */
export function allowedValues(option: OptionSpec): string {
  switch (option.type) {
    case 'port':
      return 'a port number, 0 to 65535';
    case 'integer':
      return `a whole number from ${option.min ?? 0} to ${option.max ?? Number.MAX_SAFE_INTEGER}`;
    case 'duration': {
      const bounds = [
        option.min === undefined ? '' : `at least ${formatDuration(option.min)}`,
        option.max === undefined ? '' : `at most ${formatDuration(option.max)}`,
      ].filter((text) => text !== '');
      return [DURATION_FORM, ...bounds].join(', ');
    }
    case 'choice':
      return `one of ${(option.choices ?? []).join(', ')}`;
    case 'url':
      return `a URL that begins with ${(option.schemes ?? []).map((scheme) => `${scheme}://`).join(' or ')}`;
    case 'postgres-url':
      return 'a URL such as postgres://user@host/database or postgres:///database?host=/var/run/postgresql';
    case 'redis-url':
      return (
        'a URL such as redis://host:6379, redis+sentinel://host:26379,host/primary or ' +
        'redis+cluster://host,host (with TLS: rediss)'
      );
    case 'path':
      return 'a path';
    case 'text':
      return 'text that is not empty';
  }
}

/** The parsed value, or `undefined` when it is not allowed. */
export function parseValue(option: OptionSpec, raw: unknown): string | number | undefined {
  if (option.type === 'port') return wholeNumber(raw, 0, 65_535);
  if (option.type === 'integer')
    return wholeNumber(raw, option.min ?? 0, option.max ?? Number.MAX_SAFE_INTEGER);
  if (typeof raw !== 'string' || raw.trim() === '' || raw.includes('\0')) return undefined;
  switch (option.type) {
    case 'duration': {
      const ms = parseDuration(raw.trim());
      if (ms === null || ms < (option.min ?? 0) || ms > (option.max ?? Number.MAX_SAFE_INTEGER))
        return undefined;
      return ms;
    }
    case 'choice':
      return (option.choices ?? []).includes(raw.trim()) ? raw.trim() : undefined;
    case 'url':
      return url(raw.trim(), option.schemes ?? []);
    case 'postgres-url':
      // `admin-api/store/postgres-url.ts` looks at the rest.
      return /^postgres(ql)?:\/\//.test(raw.trim()) ? raw.trim() : undefined;
    case 'redis-url':
      // `cli/config/redis.ts` looks at the rest.
      return /^rediss?(\+sentinel|\+cluster)?:\/\/[^\s/]/.test(raw.trim()) ? raw.trim() : undefined;
    default:
      // An environment file that was written on Windows leaves its line ends in every value.
      return raw.replace(/[\r\n]+$/, '');
  }
}

function wholeNumber(raw: unknown, min: number, max: number): number | undefined {
  const value = typeof raw === 'string' && /^\d{1,15}$/.test(raw.trim()) ? Number(raw) : raw;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) return undefined;
  return value;
}

function url(raw: string, schemes: readonly string[]): string | undefined {
  if (!URL.canParse(raw)) return undefined;
  return schemes.includes(new URL(raw).protocol.slice(0, -1)) ? raw.replace(/\/+$/, '') : undefined;
}
