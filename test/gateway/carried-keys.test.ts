/** What a gateway carries to devices of the server keys that the directory has. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { holdsKey } from '../../admin-api/key-proof.ts';
import { CarriedKeys } from '../../gateway/lists/carried-keys.ts';
import type { SignedServerKeys } from '../../protocol/index.ts';
import { fingerprintOf, newKeyPair, signedKeys } from '../server-keys.ts';

const [root, next, stranger] = [newKeyPair(), newKeyPair(), newKeyPair()];
const signing = [newKeyPair().publicKey];
const first = signedKeys(root, [1, 1], signing);
const second = signedKeys(next, [1, 2], signing, root);
const third = signedKeys(next, [1, 3], signing);

/** `checks`: how many signatures were checked. */
function carrying(fingerprint: Uint8Array | null) {
  const counts = { checks: 0 };
  const keys = new CarriedKeys(fingerprint, (...signature) => {
    counts.checks++;
    return holdsKey(...signature);
  });
  return { keys, counts };
}

const copy = (documents: SignedServerKeys[]) => documents.map((document) => ({ ...document }));

test('K-5: documents that count for nothing are looked at once, however often they are read', async () => {
  const { keys, counts } = carrying(fingerprintOf(root));
  const foreign = [signedKeys(stranger, [9, 1], signing)];
  assert.is(await keys.take(foreign), false);
  const { checks } = counts;
  assert.ok(checks > 0);
  for (let polls = 0; polls < 5; polls++) assert.is(await keys.take(copy(foreign)), false);
  assert.is(counts.checks, checks);
  assert.is(await keys.take([first]), true);
  assert.equal(keys.edition, [1, 1]);
});

test('K-5: a document whose second signature was left out counts once it is there', async () => {
  const { keys } = carrying(fingerprintOf(root));
  const { previousSig: _, ...without } = second;
  assert.is(await keys.take([first, without]), true);
  assert.equal(keys.edition, [1, 1]);
  assert.is(await keys.take([first, second]), true);
  assert.equal(keys.edition, [1, 2]);
});

test('K-5: a gateway that joined under a later root carries the earlier documents as well', async () => {
  const { keys } = carrying(fingerprintOf(next));
  assert.is(await keys.take([first, second, third]), true);
  assert.is(keys.after([0, 0]).length, 3);
  assert.is(keys.after([1, 1]).length, 2);
  // What somebody puts before them costs devices nothing.
  const { keys: others } = carrying(fingerprintOf(next));
  const before = signedKeys(stranger, [1, 1], signing);
  assert.is(await others.take([before, second, third]), true);
  assert.is(others.after([0, 0]).length, 2);
});

test('K-3: what follows a root by another hand is not carried', async () => {
  const { keys } = carrying(fingerprintOf(next));
  const stolen = signedKeys(stranger, [1, 4], signing, stranger);
  assert.is(await keys.take([first, second, third, stolen]), true);
  assert.equal(keys.edition, [1, 3]);
});

test.run();
