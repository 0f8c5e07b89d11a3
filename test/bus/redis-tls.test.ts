/** Who is believed, and who is let in. */
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { BusUnavailable } from '../../bus/bus.ts';
import { RedisBus } from '../../bus/redis/redis-bus.ts';
import { RedisSettingsError, type RedisTls } from '../../bus/redis/settings.ts';
import { Certificates } from '../../bus/tls/certificates.ts';
import { makeCertificates } from '../services/certificates.ts';
import { startRedis } from '../services/redis.ts';
import { waitFor } from '../wait.ts';

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

test('changed files apply to the next connection; open connections stay', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'redis-tls-'));
  const files = { ca: certificates.ca, cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') };
  const install = (pair: { cert: string; key: string }) => {
    copyFileSync(pair.cert, files.cert);
    copyFileSync(pair.key, files.key);
  };
  install(certificates);
  const log = pino({ level: 'silent' });
  const watch = new Certificates(log, { lookMs: 10 });
  const bus = new RedisBus({ url: server.url, password: PASSWORD, tls: { files }, log, certificates: watch });
  try {
    await bus.start();
    install(strangers);
    const since = Date.parse(watch.report()?.since ?? '');
    await waitFor(() => Date.parse(watch.report()?.since ?? '') > since, { what: 'the files to be read' });
    assert.equal(watch.warnings(), []);
    assert.ok(bus.status().available);
    await server.restart();
    await waitFor(() => !bus.status().available, { what: 'the refusal of the other certificate' });
    install(certificates);
    await waitFor(() => bus.status().available, { what: 'the connection with its own certificate' });
  } finally {
    await bus.stop();
    rmSync(folder, { recursive: true, force: true });
  }
  assert.is(watch.report(), null);
});

test('a wrong password is reported as such, without repeating it', async () => {
  const reason = await refuses(newBus({ ca, cert, key }, 'not the password'), /WRONGPASS/);
  assert.not.match(reason, /not the password/);
});

test.after(async () => {
  await server.stop();
  await certificates.remove();
  await strangers.remove();
});

test.run();
