import { ConfigError } from '../config/load.ts';

/** What about Redis is `redisSettings`' business. */
export type WithoutRedis<T> = Omit<T, Extract<keyof T, `redis${string}`>>;

/** Throws `ConfigError` when only one of the two is given; `null` for neither. */
export function tlsFiles(
  certFlag: string,
  certFile: string | undefined,
  keyFlag: string,
  keyFile: string | undefined,
): { certFile: string; keyFile: string } | null {
  if (certFile === undefined && keyFile === undefined) return null;
  if (certFile === undefined || keyFile === undefined) {
    throw new ConfigError([`${certFlag} and ${keyFlag} must be given together`]);
  }
  return { certFile, keyFile };
}
