// time limit: 120 s
import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { secretBox } from '../../admin-api/at-rest/key-file.ts';
import { KeyBox, loadSecret, PlainBox } from '../../admin-api/at-rest/secret-box.ts';
import { DeviceSecrets } from '../../admin-api/device-secrets.ts';
import { ServerKeys } from '../../admin-api/keys/server-keys.ts';
import { openStore } from '../../admin-api/store/open-store.ts';
import { StoreSettingsError } from '../../admin-api/store/store-settings-error.ts';
import { type Program, startCli } from '../services/processes.ts';
import { rejects } from './store-fixtures.ts';

const test = suite<{ folder: string }>('secrets at rest');
const key = Buffer.alloc(32, 7);
const secret = Buffer.from('what nobody may read');

test.before.each((context) => {
  context.folder = mkdtempSync(join(tmpdir(), 'at-rest-'));
});
test.after.each(({ folder }) => rmSync(folder, { recursive: true, force: true }));

function saysSettings(pattern: RegExp) {
  return (error: Error) => {
    assert.instance(error, StoreSettingsError, String(error));
    assert.match(error.message, pattern);
  };
}

test('a sealed secret opens only with its key and its label', async () => {
  const box = new KeyBox(key);
  const sealed = await box.seal('signing key', secret);
  assert.not.match(sealed, new RegExp(secret.toString('base64')));
  assert.ok((await box.open('signing key', sealed)).equals(secret));
  assert.is.not(await box.seal('signing key', secret), sealed);
  await rejects(box.open('another', sealed), () => {});
  await rejects(
    new KeyBox(Buffer.alloc(32, 8)).open('signing key', sealed),
    saysSettings(/encrypted with key \w{16}, and this is key \w{16}: restore the file/),
  );
  await rejects(
    new PlainBox().open('signing key', sealed),
    saysSettings(/no key is given: .*--secrets-key-file/),
  );
});

test('a secret from before there was a key is the same secret, and is encrypted from then on', async ({
  folder,
}) => {
  const store = openStore({ dataDir: folder, log: pino({ level: 'silent' }) });
  await store.start();
  const { meta } = store;
  const what = { key: 'the-secret', label: 'secret' };
  const before = await loadSecret(meta, new PlainBox(), what, () => secret);
  assert.is(await meta.get('the-secret'), secret.toString('base64'));
  const box = new KeyBox(key);
  const other = () => Buffer.from('another');
  for (let start = 0; start < 2; start++) {
    assert.ok((await loadSecret(meta, box, what, other)).equals(before));
    assert.match(String(await meta.get('the-secret')), /^aes256gcm:/);
  }
  const signers = [
    await ServerKeys.load({ meta }),
    await ServerKeys.load({ meta, box }),
    await ServerKeys.load({ meta, box }),
  ];
  const publicKeys = signers.map(({ signer }) => Buffer.from(signer.publicKey).toString('hex'));
  assert.is(new Set(publicKeys).size, 1);
  const ofDevice = (await DeviceSecrets.load(meta)).of('d1', 1);
  assert.equal((await DeviceSecrets.load(meta, box)).of('d1', 1), ofDevice);
  assert.match(String(await meta.get('master-secret')), /^aes256gcm:/);
  assert.equal((await DeviceSecrets.load(meta, box)).of('d1', 1), ofDevice);
  await store.stop();
});

test('the key is one that settings name, or the own one of the folder, which is made once', async ({
  folder,
}) => {
  const ownFile = join(folder, 'secrets.key');
  const sealed = await secretBox({ ownFile }).seal('x', secret);
  assert.is(statSync(ownFile).mode & 0o777, 0o600);
  assert.ok((await secretBox({ ownFile }).open('x', sealed)).equals(secret));
  const keyFile = join(folder, 'named.key');
  for (const text of [key.toString('base64'), `${key.toString('hex')}\n`]) {
    writeFileSync(keyFile, text);
    const named = await secretBox({ keyFile, ownFile }).seal('x', secret);
    assert.ok((await new KeyBox(key).open('x', named)).equals(secret));
  }
  assert.is(secretBox({ ownFile: null }).encrypts, false);
  writeFileSync(keyFile, 'short');
  assert.throws(
    () => secretBox({ keyFile, ownFile }),
    saysSettingsSync(/holds no key: expected 32 random bytes/),
  );
  assert.throws(
    () => secretBox({ keyFile: join(folder, 'none'), ownFile }),
    saysSettingsSync(/cannot be read/),
  );
});

function saysSettingsSync(pattern: RegExp) {
  return (error: Error) => error instanceof StoreSettingsError && pattern.test(error.message);
}

test('a server on SQLite encrypts its signing key, and needs the key of its database to start', async ({
  folder,
}) => {
  const data = join(folder, 'data');
  const start = (): Program =>
    startCli(
      [
        ...['start', '--api-port', '0', '--host', '127.0.0.1', '--port', '0', '--metrics-port', '0'],
        ...['--data-dir', data],
      ],
      { cwd: folder },
    );
  const runs = async () => {
    const program = start();
    await program.waitForLine(/^ready /, 30_000);
    assert.equal(await program.stop(), { code: 0, signal: null });
  };
  await runs();
  const files = readdirSync(data).filter((name) => name.startsWith('pushpoint.db'));
  const database = Buffer.concat(files.map((name) => readFileSync(join(data, name))));
  assert.ok(database.includes('aes256gcm:'));
  // How a private Ed25519 key begins as PKCS #8 in base64.
  assert.not.ok(database.includes('MC4CAQAwBQYDK2VwBCIEI'));
  renameSync(join(data, 'secrets.key'), join(folder, 'kept'));
  const refused = start();
  assert.is((await refused.exited).code, 2, refused.output);
  assert.match(refused.output, /the .+ in the database is encrypted with key/);
  renameSync(join(folder, 'kept'), join(data, 'secrets.key'));
  await runs();
});

test.run();
