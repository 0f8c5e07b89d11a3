/** Who is believed, and who is let in. */
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { BusUnavailable } from '../../bus/bus.ts';
import { RedisBus } from '../../bus/redis/redis-bus.ts';
import { RedisSettingsError, type RedisTls } from '../../bus/redis/settings.ts';
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

function newBus(tls: RedisTls, password = PASSWORD, url = server.url): RedisBus {
  return new RedisBus({ url, password, tls, startTimeoutMs: 5_000 });
}

async function starts(bus: RedisBus): Promise<void> {
  try {
    await bus.start();
  } finally {
    await bus.stop();
  }
}

/** It does not start, for a reason that matches. Returns the reason. */
async function refuses(bus: RedisBus, pattern: RegExp): Promise<string> {
  try {
    const error: Error = await bus.start().then(
      () => new Error('it started'),
      (why) => why,
    );
    // Waiting would not help where a person has to change something.
    assert.ok(error instanceof RedisSettingsError || error instanceof BusUnavailable, String(error));
    assert.match(error.message, pattern);
    return error.message;
  } finally {
    await bus.stop();
  }
}

test('a server whose authority is given is believed, and believes the certificate shown to it', async () => {
  await starts(newBus({ ca, cert, key }));
  await starts(newBus({ ca, cert, key }, PASSWORD, server.url.replace('127.0.0.1', 'localhost')));
});

test('a server whose authority is not known is not believed', async () => {
  await refuses(newBus({ cert, key }), /certificate/);
  await refuses(newBus({ ca: readFileSync(strangers.ca, 'utf8'), cert, key }), /certificate/);
});

test('unless that is switched off', async () => {
  await starts(newBus({ cert, key, verify: false }));
});

test('a server that asks for a certificate lets nobody in without one', async () => {
  await refuses(newBus({ ca }), /alert|certificate|closed|reset|EPIPE/i);
});

test('a wrong password is told as such, and not repeated', async () => {
  const reason = await refuses(newBus({ ca, cert, key }, 'not the password'), /WRONGPASS/);
  assert.not.match(reason, /not the password/);
});

test.after(async () => {
  await server.stop();
  await certificates.remove();
  await strangers.remove();
});

test.run();
