/** Combines the settings of Redis. */
import { readFileSync } from 'node:fs';
import {
  parseRedisSettings,
  type RedisSettings,
  RedisSettingsError,
  type RedisTls,
} from '../../bus/redis/settings.ts';
import { ConfigError } from './load.ts';
import type { ConfigOf } from './options.ts';

type RedisConfig = Pick<ConfigOf<'gateway'>, Extract<keyof ConfigOf<'gateway'>, `redis${string}`>>;

/** Reads the files named. Throws `ConfigError`, which repeats no secret. */
export function redisSettings(config: RedisConfig): RedisSettings & { prefix: string } {
  const problems: string[] = [];
  const read = (flag: string, path: string | undefined) => {
    if (path === undefined) return undefined;
    try {
      return readFileSync(path, 'utf8');
    } catch (error) {
      problems.push(
        `--${flag}: ${path} cannot be read (${(error as NodeJS.ErrnoException).code ?? String(error)})`,
      );
      return undefined;
    }
  };
  const secret = (flag: string, value: string | undefined, path: string | undefined) => {
    if (value !== undefined && path !== undefined)
      problems.push(`--${flag} and --${flag}-file must not both be given`);
    const text = read(`${flag}-file`, path)?.replace(/[\r\n]+$/, '');
    if (text === '') problems.push(`--${flag}-file: ${path} is empty`);
    return value ?? text;
  };
  const password = secret('redis-password', config.redisPassword, config.redisPasswordFile);
  const sentinelPassword = secret(
    'redis-sentinel-password',
    config.redisSentinelPassword,
    config.redisSentinelPasswordFile,
  );
  for (const [flag, path] of [
    ['redis-tls-ca', config.redisTlsCa],
    ['redis-tls-cert', config.redisTlsCert],
    ['redis-tls-key', config.redisTlsKey],
  ] as const) {
    read(flag, path);
  }
  const files = {
    ...named('ca', config.redisTlsCa),
    ...named('cert', config.redisTlsCert),
    ...named('key', config.redisTlsKey),
  };
  const tls: RedisTls = {
    ...(Object.keys(files).length > 0 && { files }),
    ...(config.redisTlsVerify === 'no' && { verify: false }),
  };
  if (!/^[A-Za-z0-9._-]{1,32}$/.test(config.redisPrefix)) {
    problems.push(
      `--redis-prefix: ${JSON.stringify(config.redisPrefix)} is not allowed; expected 1 to 32 letters, ` +
        'digits, ".", "_" or "-"',
    );
  }
  const settings: RedisSettings & { prefix: string } = {
    url: config.redisUrl,
    prefix: config.redisPrefix,
    ...named('password', password),
    ...named('sentinelUsername', config.redisSentinelUser),
    ...named('sentinelPassword', sentinelPassword),
    ...(Object.keys(tls).length > 0 && { tls }),
  };
  try {
    if (problems.length === 0) parseRedisSettings(settings);
  } catch (error) {
    if (!(error instanceof RedisSettingsError)) throw error;
    problems.push(`--redis-url (or REDIS_URL): ${error.message}`);
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return settings;
}

function named<K extends string>(key: K, value: string | undefined): { [P in K]?: string } {
  return (value === undefined ? {} : { [key]: value }) as { [P in K]?: string };
}
