/** Who is believed, and who is let in. */
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { BusUnavailable } from '../../bus/bus.ts';
import { RedisBus } from '../../bus/redis/redis-bus.ts';
import type { RedisTls } from '../../bus/redis/settings.ts';
import { makeCertificates } from '../services/certificates.ts';
import { startRedis } from '../services/redis.ts';

const PASSWORD = 'hunter2';
const certificates = await makeCertificates();
const strangers = await makeCertificates();
const server = await startRedis({
  tls: { ...certificates, clients: true },
  settings: [['requirepass', PASSWORD]],
});
const [ca, cert, key] = [certificates.ca, certificates.cert, certificates.key].map((path) =>
  readFileSync(path, 'utf8'),
) as [string, string, string];

/** Why the bus does not start; `null` when it does. */
async function refusal(tls: RedisTls, password = PASSWORD, url = server.url): Promise<string | null> {
  const bus = new RedisBus({ url, password, tls, startTimeoutMs: 1_500 });
  try {
    await bus.start();
    return null;
  } catch (error) {
    assert.instance(error, BusUnavailable);
    return (error as Error).message;
  } finally {
    await bus.stop();
  }
}

test('a server whose authority is given is believed, and believes the certificate shown to it', async () => {
  assert.is(await refusal({ ca, cert, key }), null);
  const name = server.url.replace('127.0.0.1', 'localhost');
  assert.is(await refusal({ ca, cert, key }, PASSWORD, name), null);
});

test('a server whose authority is not known is not believed', async () => {
  assert.match((await refusal({ cert, key })) ?? '', /certificate/);
  const other = readFileSync(strangers.ca, 'utf8');
  assert.match((await refusal({ ca: other, cert, key })) ?? '', /certificate/);
});

test('unless that is switched off', async () => {
  assert.is(await refusal({ cert, key, verify: false }), null);
});

test('a server that asks for a certificate lets nobody in without one', async () => {
  assert.type(await refusal({ ca }), 'string');
});

test('a wrong password is told as such, and not repeated', async () => {
  const reason = await refusal({ ca, cert, key }, 'not the password');
  assert.match(reason ?? '', /WRONGPASS/);
  assert.not.match(reason ?? '', /not the password/);
});

test.after(async () => {
  await server.stop();
  await certificates.remove();
  await strangers.remove();
});

test.run();
