/** Server keys of a database that was restored, and whose root key is kept elsewhere. */
import { sign } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { KeyBox } from '../../admin-api/at-rest/secret-box.ts';
import { holdsKey } from '../../admin-api/key-proof.ts';
import type { Carried } from '../../admin-api/keys/carried-keys.ts';
import { rootOfEpoch, signEpochKeys } from '../../admin-api/keys/epoch-keys.ts';
import { ServerKeys, ServerKeysHeld } from '../../admin-api/keys/server-keys.ts';
import { KeysService } from '../../admin-api/services/keys-service.ts';
import { openStore } from '../../admin-api/store/open-store.ts';
import type { Store } from '../../admin-api/store/store.ts';
import { StoreSettingsError } from '../../admin-api/store/store-settings-error.ts';
import {
  decodeServerKeys,
  type ServerKeys as Keys,
  type SignedServerKeys,
  serverKeysBytes,
  succeedServerKeys,
} from '../../protocol/index.ts';
import { type KeyPair, newKeyPair } from '../server-keys.ts';
import { rejects } from './store-fixtures.ts';

const box = new KeyBox(Buffer.alloc(32, 7));
const T0 = 1_000_000;

/** One database, with whatever stands in it put back. */
class World {
  readonly folder = mkdtempSync(join(tmpdir(), 'restored-keys-'));
  readonly store: Store = openStore({ dataDir: this.folder, log: pino({ level: 'silent' }) });

  load(epoch = 1, more: { carried?: Carried; rootKey?: KeyPair; now?: number } = {}): Promise<ServerKeys> {
    const { now = T0, ...rest } = more;
    return ServerKeys.load({ meta: this.store.meta, box, epoch, now: () => now, ...rest });
  }

  async service(epoch = 1): Promise<{ serverKeys: ServerKeys; keys: KeysService }> {
    const serverKeys = await this.load(epoch);
    const directory = { gatewaysChangedSoon() {} };
    const leases = { known: true, list: () => [] };
    const more = { directory, leases, hub: { notify() {} }, now: () => T0, installation: { epoch } };
    return { serverKeys, keys: new KeysService({ store: this.store, serverKeys, ...more }) };
  }

  /** Resolves with the way to put it back. */
  async backUp(): Promise<() => Promise<void>> {
    const { meta } = this.store;
    const rows = await meta.list('');
    return async () => {
      await meta.delete((await meta.list('')).map(({ key }) => key));
      for (const { key, value } of rows) await meta.set(key, value);
    };
  }

  async stop(): Promise<void> {
    await this.store.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

const test = suite<{ world: World }>('server keys of a restored database');
test.before.each(async (context) => {
  context.world = new World();
  await context.world.store.start();
});
test.after.each(({ world }) => world.stop());

function signatureBy({ privateKey }: KeyPair, body: Uint8Array): Uint8Array {
  return new Uint8Array(sign(null, serverKeysBytes(body), privateKey));
}

/** The root key moves into a file. */
async function rootInFile(keys: KeysService): Promise<KeyPair> {
  const root = newKeyPair();
  const { pending } = await keys.replaceRoot(root.publicKey, 't');
  await keys.sign({ body: pending as Uint8Array, sig: signatureBy(root, pending as Uint8Array) }, 't');
  return root;
}

async function rotateWith(keys: KeysService, root: KeyPair): Promise<void> {
  const { pending } = await keys.rotate('t');
  await keys.sign({ body: pending as Uint8Array, sig: signatureBy(root, pending as Uint8Array) }, 't');
}

/** What a device that holds `held` holds after these. */
async function after(held: Keys, documents: readonly SignedServerKeys[]): Promise<Keys> {
  let last = held;
  for (const document of documents) last = (await succeedServerKeys(last, document, holdsKey)) ?? last;
  return last;
}

function says(type: typeof ServerKeysHeld | typeof StoreSettingsError, pattern: RegExp) {
  return (error: Error) => {
    assert.instance(error, type, String(error));
    assert.match(error.message, pattern);
  };
}

test('a start with an older copy than the keys that gateways carry says so', async ({ world }) => {
  const { serverKeys, keys } = await world.service();
  const restore = await world.backUp();
  await keys.rotate('t');
  const { documents, document } = serverKeys;
  await restore();
  const older = await world.load();
  await older.mustFollow([older.documents]);
  await rejects(
    older.mustFollow([[], documents]),
    says(StoreSettingsError, /carry the server keys 1\.2, and the database has 1\.1: it is an older copy/),
  );
  // What the root did not sign is somebody else's.
  await older.mustFollow([[{ ...document, sig: new Uint8Array(64) }]]);
});

test('a server that starts while another changes the keys starts', async ({ world }) => {
  const { keys, serverKeys } = await world.service();
  const starting = await world.load();
  await keys.rotate('t');
  await starting.mustFollow([serverKeys.documents]);
  assert.equal(starting.document, serverKeys.document);
});

test('K-3: with the root in a file the keys of the epoch wait, and stay the same', async ({ world }) => {
  const { keys } = await world.service();
  const root = await rootInFile(keys);
  const { documents } = await world.load();
  const held = await world.load(2, { carried: [documents] });
  // Gateways have nothing newer: the keys in force are those that devices trust.
  await held.mustFollow([documents]);
  const { pending } = held.record;
  assert.ok(pending);
  const again = await world.load(2, { carried: [documents], now: T0 + 5_000 });
  assert.equal(again.record.pending, pending);
  const { keys: service, serverKeys } = await world.service(2);
  await service.sign({ body: pending, sig: signatureBy(root, pending) }, 't');
  const device = await after(again.keys, serverKeys.documents);
  assert.equal([device.epoch, device.revision], [2, 1]);
});

test('K-3: older keys are held until the root has signed them, by its file or by a signature', async ({
  world,
}) => {
  const { keys } = await world.service();
  const root = await rootInFile(keys);
  const restore = await world.backUp();
  await rotateWith(keys, root);
  const carried = [(await world.load()).documents];
  const newest = (await world.load()).keys;
  for (const way of ['file', 'signature', 'wrong file']) {
    await restore();
    const held = await world.load(2, { carried });
    const waits = says(ServerKeysHeld, /1\.3, and the root key has to sign 2\.1 first.*restored --root-key/);
    await rejects(held.mustFollow(carried), waits);
    const pending = held.record.pending as Uint8Array;
    if (way === 'wrong file') {
      const stranger = newKeyPair();
      await rejects((await world.load(2, { carried, rootKey: stranger })).mustFollow(carried), waits);
      assert.is(await signEpochKeys(world.store, signatureBy(stranger, pending), T0), 'wrong');
      continue;
    }
    if (way === 'file') await world.load(2, { carried, rootKey: root });
    else assert.is(await signEpochKeys(world.store, signatureBy(root, pending), T0), 'signed');
    const server = await world.load(2, { carried });
    await server.mustFollow(carried);
    assert.is(server.record.pending, undefined);
    const device = await after(newest, server.documents);
    assert.equal([device.epoch, device.revision], [2, 1]);
    assert.equal(device.signing, [new Uint8Array(server.signer.publicKey)]);
    assert.is(await signEpochKeys(world.store, signatureBy(root, pending), T0), 'none');
  }
});

test('K-3: a root that took over after the backup signs, not the one in the backup', async ({ world }) => {
  const { serverKeys, keys } = await world.service();
  const first = serverKeys.keys;
  const restore = await world.backUp();
  const root = await rootInFile(keys);
  await rotateWith(keys, root);
  const carried = [(await world.load()).documents];
  const newest = (await world.load()).keys;
  await restore();
  assert.equal(await rootOfEpoch(world.store.meta, carried), new Uint8Array(root.publicKey));
  const held = await world.load(2, { carried });
  await rejects(held.mustFollow(carried), says(ServerKeysHeld, /has to sign 2\.1 first/));
  const named = decodeServerKeys(held.record.pending as Uint8Array);
  assert.equal(named.root, new Uint8Array(root.publicKey));
  const server = await world.load(2, { carried, rootKey: root });
  await server.mustFollow(carried);
  // Both those that know the new root, and those that were away since before it.
  for (const device of [newest, first]) {
    const keys = await after(device, server.documents);
    assert.equal([keys.epoch, keys.revision, keys.root], [2, 1, new Uint8Array(root.publicKey)]);
  }
});

test('keys of an epoch that began without Redis are held when gateways know another root', async ({
  world,
}) => {
  const { keys } = await world.service();
  const restore = await world.backUp();
  await rootInFile(keys);
  const carried = [(await world.load()).documents];
  await restore();
  const server = await world.load(2);
  assert.is(server.keys.epoch, 2);
  await rejects(server.mustFollow(carried), says(StoreSettingsError, /run `pushpoint restored`/));
});

test.run();
