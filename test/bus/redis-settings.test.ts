import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseRedisSettings, type RedisSettings, RedisSettingsError } from '../../bus/redis/settings.ts';
import { slotOf } from '../../bus/redis/slots.ts';
import { makeCertificates } from '../services/certificates.ts';

const certificates = await makeCertificates();
const pem = {
  ca: readFileSync(certificates.ca, 'utf8'),
  cert: readFileSync(certificates.cert, 'utf8'),
  key: readFileSync(certificates.key, 'utf8'),
};

test.after(() => certificates.remove());

function refusal(settings: RedisSettings): string {
  try {
    parseRedisSettings(settings);
  } catch (error) {
    if (error instanceof RedisSettingsError) return error.message;
    throw error;
  }
  throw new Error(`${settings.url} was taken`);
}

test('one server: host, port, database, user and password', () => {
  assert.equal(parseRedisSettings({ url: 'redis://redis.example' }), {
    kind: 'standalone',
    endpoints: [{ host: 'redis.example', port: 6379 }],
    database: 0,
    credentials: {},
    tls: null,
  });
  const target = parseRedisSettings({ url: 'rediss://me:p%40ss%2Fw@[::1]:7000/3' });
  assert.equal(target.endpoints, [{ host: '::1', port: 7000 }]);
  assert.is(target.database, 3);
  assert.equal(target.credentials, { username: 'me', password: 'p@ss/w' });
  assert.equal(target.tls, { rejectUnauthorized: true, minVersion: 'TLSv1.2' });
  assert.equal(parseRedisSettings({ url: 'redis://:secret@h' }).credentials, { password: 'secret' });
});

test('sentinels: several, the name of the primary, and passwords of both kinds of servers', () => {
  const target = parseRedisSettings({
    url: 'redis+sentinel://me:one@a:1,b/main/2',
    sentinelUsername: 'you',
    sentinelPassword: 'two',
  });
  assert.equal(target, {
    kind: 'sentinel',
    endpoints: [
      { host: 'a', port: 1 },
      { host: 'b', port: 26_379 },
    ],
    primary: 'main',
    database: 2,
    credentials: { username: 'me', password: 'one' },
    sentinelCredentials: { username: 'you', password: 'two' },
    tls: null,
  });
  assert.match(refusal({ url: 'redis+sentinel://a,b' }), /name that the sentinels give/);
});

test('a cluster: some of its servers, and database 0', () => {
  const target = parseRedisSettings({ url: 'rediss+cluster://a,b:7001', password: 'x' });
  assert.is(target.kind, 'cluster');
  assert.is(target.endpoints.length, 2);
  assert.equal(target.credentials, { password: 'x' });
  assert.match(refusal({ url: 'redis+cluster://a/1' }), /only has database 0/);
});

test('a password from elsewhere takes the place of that in the URL, and joins its user', () => {
  const { credentials } = parseRedisSettings({ url: 'redis://me@h', password: 'x' });
  assert.equal(credentials, { username: 'me', password: 'x' });
  assert.equal(parseRedisSettings({ url: 'redis://:a@h', password: 'b' }).credentials, { password: 'b' });
});

test('certificates are checked unless that is switched off in so many words', () => {
  const { tls } = parseRedisSettings({ url: 'rediss://h', tls: pem });
  assert.equal(tls, { rejectUnauthorized: true, minVersion: 'TLSv1.2', ...pem });
  assert.match(refusal({ url: 'rediss://h', tls: { ...pem, key: 'K' } }), /not usable/);
  assert.match(refusal({ url: 'rediss://h', tls: { ca: 'no certificate' } }), /not usable/);
  assert.is(parseRedisSettings({ url: 'rediss://h', tls: { verify: false } }).tls?.rejectUnauthorized, false);
  assert.match(refusal({ url: 'redis://h', tls: { ca: pem.ca } }), /begins with redis, not rediss/);
  assert.match(refusal({ url: 'rediss://h', tls: { cert: 'C' } }), /together/);
});

test('what cannot be meant is refused with a reason that repeats no secret', () => {
  const refused: [url: string, reason: RegExp][] = [
    ['http://h', /looks like redis:/],
    ['redis://', /looks like redis:/],
    ['redis://:hunter2@a,b', /redis:\/\/ takes one server/],
    ['redis://:hunter2@h:99999', /1 to 65535/],
    ['redis://:hunter2@h/db', /database .* is a number/],
    ['redis://:hunter2@h/0/1', /only the number of a database/],
    ['redis://:hunter2@h?family=6', /must not contain `\?`/],
    ['redis://:hunter2%zz@h', /write it as %25/],
    ['redis://hunter2@h', /without a password/],
    ['redis+sentinel://:hunter2@a,,b/n', /every server/],
  ];
  for (const [url, reason] of refused) {
    const message = refusal({ url });
    assert.match(message, reason);
    assert.not.match(message, /hunter2/);
  }
  assert.match(refusal({ url: 'redis://h', sentinelPassword: 'hunter2' }), /names no sentinels/);
});

test('slots are those that the servers compute', () => {
  assert.is(slotOf('123456789'), 0x31c3);
  assert.is(slotOf('{user1000}.following'), slotOf('user1000'));
  assert.is(slotOf('foo{}{bar}'), slotOf('foo{}{bar}'));
  assert.is(slotOf('foo{{bar}}zap'), slotOf('{bar'));
  assert.is.not(slotOf('foo{}'), slotOf('foo'));
});

test.run();
