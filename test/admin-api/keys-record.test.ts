import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { holdsKey } from '../../admin-api/key-proof.ts';
import { type KeysRecord, keysOf, withDocument } from '../../admin-api/keys/keys-record.ts';
import { followServerKeys, LIMITS } from '../../protocol/index.ts';
import { fingerprintOf, newKeyPair, signedKeys } from '../server-keys.ts';

const signing = newKeyPair().publicKey;

test('K-7: of each root the first document stays, and no more than an answer may bring', async () => {
  const roots = Array.from({ length: LIMITS.serverKeyDocuments + 2 }, newKeyPair);
  let record: KeysRecord = { documents: [], active: signing, activeSince: 1, copied: true };
  let revision = 0;
  for (const [n, root] of roots.entries()) {
    record = withDocument(record, signedKeys(root, [1, ++revision], [signing], roots[n - 1]));
    for (let more = 0; more < 2; more++) {
      record = withDocument(record, signedKeys(root, [1, ++revision], [signing]));
    }
    assert.is(record.documents.length, Math.min(LIMITS.serverKeyDocuments, n + 2));
    const { documents } = record;
    const oldest = roots[Math.max(0, n + 2 - LIMITS.serverKeyDocuments)] ?? root;
    const fingerprint = Buffer.from(fingerprintOf(oldest));
    const isOldest = (key: Uint8Array) => fingerprint.equals(fingerprintOf({ ...oldest, publicKey: key }));
    const followed = await followServerKeys(documents, isOldest, holdsKey);
    assert.is(followed.length, documents.length, `root ${n}`);
    assert.is(keysOf(record).revision, revision);
  }
});

test.run();
