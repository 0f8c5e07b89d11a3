/** Settings of Redis, for all programs that use it. */
import { JOINED, ON_REDIS, type OptionSpec } from './spec.ts';

export const REDIS_OPTIONS = [
  {
    name: 'redis-url',
    env: 'REDIS_URL',
    type: 'redis-url',
    description:
      'Redis that connects administration servers and gateways: one server, the sentinels that watch ' +
      'it, or a cluster',
    programs: ON_REDIS,
    requiredFor: JOINED,
    secret: true,
  },
  {
    name: 'redis-prefix',
    env: 'REDIS_PREFIX',
    type: 'text',
    description:
      'Prefix of every key and channel in Redis: letters, digits, `.`, `_`, `-`. Installations that ' +
      'share one Redis each need their own',
    programs: ON_REDIS,
    default: 'pp',
  },
  {
    name: 'redis-password',
    env: 'REDIS_PASSWORD',
    type: 'text',
    description: 'Password of the Redis servers, instead of one in the URL',
    programs: ON_REDIS,
    absent: 'the one in the URL, if any',
    secret: true,
  },
  {
    name: 'redis-password-file',
    env: 'REDIS_PASSWORD_FILE',
    type: 'path',
    description: 'File with the password of the Redis servers',
    programs: ON_REDIS,
    absent: 'none is read',
  },
  {
    name: 'redis-sentinel-user',
    env: 'REDIS_SENTINEL_USER',
    type: 'text',
    description: 'User at the sentinels; the one in the URL is for the Redis servers',
    programs: ON_REDIS,
    absent: 'the default user',
  },
  {
    name: 'redis-sentinel-password',
    env: 'REDIS_SENTINEL_PASSWORD',
    type: 'text',
    description: 'Password of the sentinels',
    programs: ON_REDIS,
    absent: 'none',
    secret: true,
  },
  {
    name: 'redis-sentinel-password-file',
    env: 'REDIS_SENTINEL_PASSWORD_FILE',
    type: 'path',
    description: 'File with the password of the sentinels',
    programs: ON_REDIS,
    absent: 'none is read',
  },
  {
    name: 'redis-tls-ca',
    env: 'REDIS_TLS_CA',
    type: 'path',
    description:
      'PEM file with the authorities that sign the certificates of Redis (`rediss`) and its sentinels',
    programs: ON_REDIS,
    absent: 'the authorities that Node.js trusts',
  },
  {
    name: 'redis-tls-cert',
    env: 'REDIS_TLS_CERT',
    type: 'path',
    description: 'PEM file with the certificate to show to Redis; needs redis-tls-key',
    programs: ON_REDIS,
    absent: 'none is shown',
  },
  {
    name: 'redis-tls-key',
    env: 'REDIS_TLS_KEY',
    type: 'path',
    description: 'PEM file with the private key of redis-tls-cert',
    programs: ON_REDIS,
    absent: 'none',
  },
  {
    name: 'redis-tls-verify',
    env: 'REDIS_TLS_VERIFY',
    type: 'choice',
    choices: ['yes', 'no'],
    description:
      'Whether certificates of Redis are checked; `no` accepts any certificate and is for trials only',
    programs: ON_REDIS,
    default: 'yes',
  },
] as const satisfies readonly OptionSpec[];
