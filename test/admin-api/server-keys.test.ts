import { createHash, generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { KeyBox } from '../../admin-api/at-rest/secret-box.ts';
import { holdsKey } from '../../admin-api/key-proof.ts';
import { ServerKeys } from '../../admin-api/keys/server-keys.ts';
import { openStore } from '../../admin-api/store/open-store.ts';
import type { Store } from '../../admin-api/store/store.ts';
import { StoreSettingsError } from '../../admin-api/store/store-settings-error.ts';
import { openServerKeys, passBytes, succeedServerKeys } from '../../protocol/index.ts';
import { rejects } from './store-fixtures.ts';

const test = suite<{ folder: string; store: Store }>('server keys');
const box = new KeyBox(Buffer.alloc(32, 7));

test.before.each(async (context) => {
  context.folder = mkdtempSync(join(tmpdir(), 'server-keys-'));
  context.store = openStore({ dataDir: context.folder, log: pino({ level: 'silent' }) });
  await context.store.start();
});
test.after.each(async ({ folder, store }) => {
  await store.stop();
  rmSync(folder, { recursive: true, force: true });
});

test('K-1, K-2: the first start makes a root and a document, which later starts find', async ({ store }) => {
  const { meta } = store;
  const first = await ServerKeys.load({ meta, box });
  const keys = await openServerKeys(first.document, holdsKey);
  assert.ok(keys);
  assert.equal([keys.epoch, keys.revision], [1, 1]);
  assert.equal(keys.signing, [new Uint8Array(first.signer.publicKey)]);
  assert.equal(first.fingerprint, createHash('sha256').update(keys.root).digest());
  assert.ok(holdsKey(first.signer.publicKey, passBytes(new Uint8Array(1)), signPass(first)));
  const again = await ServerKeys.load({ meta, box });
  assert.equal(again.document, first.document);
  assert.equal(again.signer.publicKey, first.signer.publicKey);
  for (const { key, value } of await meta.list('')) {
    if (key.startsWith('root-key:') || key.startsWith('signing-key:')) assert.match(value, /^aes256gcm:/);
  }
});

function signPass({ signer }: ServerKeys) {
  return signer.signPass(new Uint8Array(1));
}

test('servers that start at once on an empty database agree on one root and one key', async ({ store }) => {
  const { meta } = store;
  const servers = await Promise.all(Array.from({ length: 5 }, () => ServerKeys.load({ meta, box })));
  const prints = servers.map(({ fingerprint }) => Buffer.from(fingerprint).toString('hex'));
  const signers = servers.map(({ signer }) => Buffer.from(signer.publicKey).toString('hex'));
  assert.is(new Set(prints).size, 1);
  assert.is(new Set(signers).size, 1);
  assert.is((await meta.list('root-key:')).length, 1);
});

test('an installation from before keeps its signing key, and gets a root', async ({ store }) => {
  const { meta } = store;
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const der = privateKey.export({ format: 'der', type: 'pkcs8' });
  await meta.set('signing-key', await box.seal('signing key', der));
  const keys = await ServerKeys.load({ meta, box });
  const { x } = publicKey.export({ format: 'jwk' });
  assert.is(Buffer.from(keys.signer.publicKey).toString('base64url'), x);
  assert.ok(await openServerKeys(keys.document, holdsKey));
  assert.is(await meta.get('signing-key'), null);
});

test('K-3: in the epoch of a restored database the document is newer than any before', async ({ store }) => {
  const { meta } = store;
  const before = await ServerKeys.load({ meta, box });
  const restored = await ServerKeys.load({ meta, box, epoch: 2 });
  const next = await succeedServerKeys(before.keys, restored.document, holdsKey);
  assert.equal([next?.epoch, next?.revision], [2, 1]);
  assert.equal(next?.signing, before.keys.signing);
  assert.equal((await ServerKeys.load({ meta, box, epoch: 2 })).document, restored.document);
});

test('a start without the key that signs says so', async ({ store }) => {
  const { meta } = store;
  await ServerKeys.load({ meta, box });
  const [row] = await meta.list('signing-key:');
  assert.ok(row);
  await meta.delete([row.key]);
  await rejects(ServerKeys.load({ meta, box }), (error) => {
    assert.instance(error, StoreSettingsError);
    assert.match(error.message, /server keys 1\.1 name the signing key .{43}, and the database does not/);
  });
});

test.run();
