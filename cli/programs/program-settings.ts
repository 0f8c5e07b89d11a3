import { readTlsFiles } from '../../bus/tls/certificate.ts';
import { ConfigError } from '../config/load.ts';
import { readableFile } from './folders.ts';

/** Settings of Redis are handled by `redisSettings`. */
export type WithoutRedis<T> = Omit<T, Extract<keyof T, `redis${string}`>>;

/**
 * Throws `ConfigError` if only one of the two is given, or if they are not a certificate and its key; `null`
 * if neither is given.
 */
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
  const files = { certFile, keyFile };
  readableFile(certFlag, certFile);
  readableFile(keyFlag, keyFile);
  try {
    readTlsFiles(files);
  } catch (error) {
    throw new ConfigError([`${certFlag}, ${keyFlag}: ${(error as Error).message}`]);
  }
  return files;
}
