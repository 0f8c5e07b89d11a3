import { sign } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { KeyBox } from '../../admin-api/at-rest/secret-box.ts';
import { holdsKey } from '../../admin-api/key-proof.ts';
import { KeysKeeper } from '../../admin-api/keys/keys-keeper.ts';
import { ServerKeys } from '../../admin-api/keys/server-keys.ts';
import { Problem } from '../../admin-api/problems.ts';
import { KeysService } from '../../admin-api/services/keys-service.ts';
import { openStore } from '../../admin-api/store/open-store.ts';
import type { Meta, Store } from '../../admin-api/store/store.ts';
import type { Lease } from '../../bus/bus.ts';
import { type Edition, editionOf, serverKeysBytes, succeedServerKeys } from '../../protocol/index.ts';
import { type KeyPair, newKeyPair } from '../server-keys.ts';
import { waitFor } from '../wait.ts';
import { rejects } from './store-fixtures.ts';

const box = new KeyBox(Buffer.alloc(32, 7));
const log = pino({ level: 'silent' });
const hub = { notify() {} };

interface Server {
  serverKeys: ServerKeys;
  keys: KeysService;
  keeper: KeysKeeper;
}

/** Administration servers on one database, with the workers that they see. */
class World {
  readonly store: Store;
  readonly folder = mkdtempSync(join(tmpdir(), 'keys-changes-'));
  readonly workers: Lease[] = [];
  now = 1_000_000;
  rewrites = 0;
  /** What the servers are writing. */
  settling: Promise<void> = Promise.resolve();

  constructor() {
    this.store = openStore({ dataDir: this.folder, log });
  }

  /** Worker `name` has sent the keys of this edition to its devices. */
  carries(name: string, keys: Edition): void {
    const others = this.workers.filter(({ identity }) => identity.worker !== name);
    this.workers.splice(0, Number.POSITIVE_INFINITY, ...others, {
      identity: { worker: name },
      load: { keys },
    } as unknown as Lease);
  }

  async server(epoch = 1): Promise<Server> {
    const { store, workers } = this;
    const now = () => this.now;
    const serverKeys = await ServerKeys.load({ meta: store.meta, box, epoch, now });
    const directory = {
      gatewaysChangedSoon() {},
      rewrite: async () => {
        this.rewrites++;
        return true;
      },
      settled: () => this.settling,
    };
    const leases = { known: true, list: () => workers };
    const parts = { store, serverKeys, leases, directory, hub, now, log };
    const keys = new KeysService({ ...parts, installation: { epoch } });
    return { serverKeys, keys, keeper: new KeysKeeper(parts) };
  }

  async rows(prefix: string): Promise<string[]> {
    return (await this.store.meta.list(prefix)).map(({ key }) => key);
  }

  async stop(): Promise<void> {
    await this.store.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

const test = suite<{ world: World }>('changes of server keys');

test.before.each(async (context) => {
  context.world = new World();
  await context.world.store.start();
});
test.after.each(({ world }) => world.stop());

function saysProblem(pattern: RegExp) {
  return (error: Error) => {
    assert.instance(error, Problem, String(error));
    assert.match(error.message, pattern);
  };
}

function signerOf({ serverKeys }: Server): string {
  return Buffer.from(serverKeys.signer.publicKey).toString('hex');
}

/** Ends a rotation that was begun. */
async function finish(world: World, server: Server): Promise<void> {
  world.workers.splice(0);
  await server.keeper.look();
  await server.keeper.look();
}

test('K-5: the next signing key signs when every live gateway carries the document that names it', async ({
  world,
}) => {
  const [one, two] = [await world.server(), await world.server()];
  const before = signerOf(one);
  world.carries('gw1/0', [1, 1]);
  world.carries('gw2/0', [1, 2]);
  const rotated = await one.keys.rotate('t');
  assert.equal(rotated.waitingFor, ['gw1/0']);
  assert.is(rotated.keys.signing.length, 2);
  await one.keeper.look();
  await two.keeper.look();
  assert.equal([signerOf(one), signerOf(two)], [before, before]);
  assert.equal(two.serverKeys.document, one.serverKeys.document);
  world.carries('gw1/0', [1, 2]);
  await one.keeper.look();
  await two.keeper.look();
  const next = Buffer.from(rotated.next as Uint8Array).toString('hex');
  assert.equal([signerOf(one), signerOf(two)], [next, next]);
});

test('K-4: an earlier key is retired only when nothing in the directory needs it, and deleted', async ({
  world,
}) => {
  const one = await world.server();
  await rejects(one.keys.retire('t'), saysProblem(/no earlier signing key/));
  const first = one.serverKeys.keys;
  await one.keys.rotate('t');
  await rejects(one.keys.retire('t'), saysProblem(/not in use yet/));
  await rejects(one.keys.rotate('t'), saysProblem(/not in use yet/));
  await one.keeper.look();
  await rejects(one.keys.retire('t'), saysProblem(/emberships by an earlier key/));
  await one.keeper.look();
  assert.is(world.rewrites, 1);
  const retired = await one.keys.retire('t');
  assert.equal(editionOf(retired.keys), [1, 3]);
  assert.equal(retired.keys.signing, [new Uint8Array(one.serverKeys.signer.publicKey)]);
  assert.is((await world.rows('signing-key:')).length, 1);
  assert.ok(await succeedServerKeys(first, one.serverKeys.document, holdsKey));
  const restarted = await world.server();
  assert.is(signerOf(restarted), signerOf(one));
});

test('K-4: no server may still write with an earlier key when the directory is signed with the next', async ({
  world,
}) => {
  const [one, two] = [await world.server(), await world.server()];
  for (const { keeper } of [one, two]) await keeper.announce();
  await one.keys.rotate('t');
  for (let looks = 0; looks < 3; looks++) {
    await one.keeper.look();
    world.now += 10_000;
  }
  assert.is(world.rewrites, 0, 'the other writes with the earlier key');
  let written = () => {};
  world.settling = new Promise((resolve) => {
    written = resolve;
  });
  const followed = two.keeper.look();
  await one.keeper.look();
  assert.is(world.rewrites, 0, 'what the other writes is under way');
  written();
  await followed;
  await one.keeper.look();
  assert.is(world.rewrites, 1);
  assert.is(one.serverKeys.record.copied, true);
});

test('K-4: a server that was killed is waited for five minutes, one that stopped is not', async ({
  world,
}) => {
  const [one, two, three] = [await world.server(), await world.server(), await world.server()];
  for (const { keeper } of [one, two, three]) await keeper.announce();
  await three.keeper.leave();
  await one.keys.rotate('t');
  await one.keeper.look();
  world.now += 299_000;
  await one.keeper.look();
  assert.is(world.rewrites, 0);
  world.now += 1_000;
  await one.keeper.look();
  assert.is(world.rewrites, 1);
  // Should it only have been paused, it looks before it writes.
  const before = signerOf(two);
  await two.serverKeys.fresh();
  assert.is(signerOf(two), before);
  const { now } = Date;
  Date.now = () => now() + 61_000;
  await two.serverKeys.fresh().finally(() => {
    Date.now = now;
  });
  assert.is(signerOf(two), signerOf(one));
});

test('K-3: of two looks at the keys at once, the later one counts', async ({ world }) => {
  const { meta } = world.store;
  const one = await world.server();
  const held: (() => void)[] = [];
  const slow = {
    ...{ set: meta.set.bind(meta), delete: meta.delete.bind(meta), setOnce: meta.setOnce.bind(meta) },
    replace: meta.replace.bind(meta),
    get: async (key: string) => {
      const value = await meta.get(key);
      if (key === 'server-keys' && held.length < 2) await new Promise<void>((resolve) => held.push(resolve));
      return value;
    },
  };
  const loading = ServerKeys.load({ meta: slow as unknown as Meta, box, now: () => world.now });
  for (let reads = 1; reads <= 2; reads++) {
    await waitFor(() => held.length === reads, { what: 'a look' });
    held[reads - 1]?.();
  }
  const two = await loading;
  held.length = 0;
  const first = two.follow();
  await waitFor(() => held.length === 1, { what: 'the first look' });
  await one.keys.rotate('t');
  const second = two.follow();
  // The second would be over before the first; it comes after it.
  held.push(() => {});
  held[0]?.();
  await Promise.all([first, second]);
  assert.equal(two.record.documents, one.serverKeys.record.documents);
});

test('every change is audited and an event', async ({ world }) => {
  const one = await world.server();
  await one.keys.rotate('t1');
  await finish(world, one);
  await one.keys.retire('t1');
  const { items } = await world.store.audit.list({ limit: 10 });
  assert.equal(items.map(({ action, actor }) => [action, actor]).reverse(), [
    ['keys.rotated', 't1'],
    ['keys.retired', 't1'],
  ]);
  const events = await world.store.events.after(0, 10);
  assert.equal(
    events.map(({ data }) => (data as { what: string }).what),
    ['rotated', 'used', 'copied', 'retired'],
  );
});

function signatureBy({ privateKey }: KeyPair, body: Uint8Array): Uint8Array {
  return new Uint8Array(sign(null, serverKeysBytes(body), privateKey));
}

test('K-3: a root that is kept elsewhere takes over when both roots signed', async ({ world }) => {
  const one = await world.server();
  const first = one.serverKeys.keys;
  const root = newKeyPair();
  const { pending } = await one.keys.replaceRoot(root.publicKey, 't');
  assert.ok(pending);
  assert.equal(one.serverKeys.keys.root, first.root);
  const stranger = signatureBy(newKeyPair(), pending);
  await rejects(one.keys.sign({ body: pending, sig: stranger }, 't'), saysProblem(/not those of the root/));
  const other = new Uint8Array([...pending.subarray(0, -1), 1]);
  const otherwise = { body: other, sig: signatureBy(root, other) };
  await rejects(one.keys.sign(otherwise, 't'), saysProblem(/do not wait for a signature/));
  const after = await one.keys.sign({ body: pending, sig: signatureBy(root, pending) }, 't');
  assert.equal(after.keys.root, new Uint8Array(root.publicKey));
  assert.is(after.rootHere, false);
  assert.equal(await world.rows('root-key:'), []);
  assert.ok(await succeedServerKeys(first, one.serverKeys.document, holdsKey));
  assert.is(one.serverKeys.documents.length, 2);
});

test('K-3: with the root elsewhere every change waits for its signature, and nothing happens before', async ({
  world,
}) => {
  const one = await world.server();
  const [root, third] = [newKeyPair(), newKeyPair()];
  const { pending } = await one.keys.replaceRoot(root.publicKey, 't');
  await one.keys.sign({ body: pending as Uint8Array, sig: signatureBy(root, pending as Uint8Array) }, 't');
  const held = one.serverKeys.keys;
  const { pending: rotation, next } = await one.keys.rotate('t');
  assert.ok(rotation);
  assert.is(next, null);
  const signed = await one.keys.sign({ body: rotation, sig: signatureBy(root, rotation) }, 't');
  assert.ok(signed.next);
  await finish(world, one);
  assert.is(signerOf(one), Buffer.from(signed.next).toString('hex'));
  const { pending: replacing } = await one.keys.replaceRoot(third.publicKey, 't');
  const sigs = {
    sig: signatureBy(third, replacing as Uint8Array),
    previousSig: signatureBy(root, replacing as Uint8Array),
  };
  await one.keys.sign({ body: replacing as Uint8Array, ...sigs }, 't');
  let last = held;
  for (const document of one.serverKeys.documents)
    last = (await succeedServerKeys(last, document, holdsKey)) ?? last;
  assert.equal(last.root, new Uint8Array(third.publicKey));
});

test('K-3: a root that the server makes itself is signed by both at once', async ({ world }) => {
  const one = await world.server();
  const first = one.serverKeys.keys;
  const { pending, rootHere, keys } = await one.keys.replaceRoot(null, 't');
  assert.is(pending, null);
  assert.ok(rootHere);
  assert.not.equal(keys.root, first.root);
  assert.ok(await succeedServerKeys(first, one.serverKeys.document, holdsKey));
  assert.is((await world.rows('root-key:')).length, 1);
});

test.run();
