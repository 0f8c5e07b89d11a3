/** The projector over a real store and the in-process bus, whose writes fail where a test says so. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import pino from 'pino';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DirectoryProjector } from '../../admin-api/directory/projector.ts';
import { ServerKeys } from '../../admin-api/keys/server-keys.ts';
import { openStore } from '../../admin-api/store/open-store.ts';
import { BusUnavailable } from '../../bus/bus.ts';
import { MemoryBus } from '../../bus/memory-bus.ts';
import { waitFor } from '../wait.ts';
import { claim, INSTALLATION, writeDirectory } from '../write-directory.ts';
import { addDevices } from './store-fixtures.ts';

test('a bus that fails while a server starts delays the directory, even one written earlier', async () => {
  const log = pino({ level: 'silent' });
  const dataDir = await mkdtemp(path.join(tmpdir(), 'projector-'));
  const store = openStore({ dataDir, checkNesting: true, log });
  await store.start();
  const bus = new MemoryBus({ log });
  await bus.start();
  const serverKeys = await ServerKeys.load({ meta: store.meta });
  const leases = { known: true, list: () => [], isRevoked: () => false, revokedAt: () => 0 };
  const authority = { changedAt: async () => 0 };
  const projector = new DirectoryProjector({
    authority,
    store,
    bus,
    serverKeys,
    installation: INSTALLATION,
    leases,
    log,
  });
  const ids = await addDevices(store, 'd', 3);
  await writeDirectory(bus);
  const { directory } = bus;
  const begin = directory.begin.bind(directory);
  let failures = 2;
  directory.begin = async (options) => {
    const writing = await begin(options);
    const put: typeof writing.put = async (devices) => {
      if (failures-- > 0) throw new BusUnavailable('tried');
      return writing.put(devices);
    };
    return { ...writing, put };
  };
  try {
    await projector.start();
    assert.equal(await directory.devices(ids), [null, null, null]);
    await waitFor(async () => (await directory.devices(ids)).every((entry) => entry !== null));
    assert.ok(failures < 0);
  } finally {
    await projector.stop();
    await bus.stop();
    await store.stop();
    await rm(dataDir, { recursive: true });
  }
});

test('a server that starts writes all lists of gateways again, whoever changed them', async () => {
  const log = pino({ level: 'silent' });
  const dataDir = await mkdtemp(path.join(tmpdir(), 'projector-'));
  const store = openStore({ dataDir, log });
  await store.start();
  const bus = new MemoryBus({ log });
  await bus.start();
  await claim(bus);
  const { directory } = bus;
  const serverKeys = await ServerKeys.load({ meta: store.meta });
  const leases = { known: true, list: () => [], isRevoked: () => false, revokedAt: () => 0 };
  const authority = { changedAt: async () => 0 };
  const made = () =>
    new DirectoryProjector({ store, bus, serverKeys, installation: INSTALLATION, leases, authority, log });
  try {
    const first = made();
    await first.start();
    await waitFor(async () => (await directory.listsMark()) !== null);
    await first.stop();
    const mark = await directory.listsMark();
    await directory.putLists([{ group: 'nowhere', frame: new Uint8Array([1]) }]);
    const second = made();
    await second.start();
    await waitFor(async () => (await directory.lists(['nowhere']))[0] === null);
    assert.is(await directory.listsMark(), mark);
    await second.stop();
  } finally {
    await bus.stop();
    await store.stop();
    await rm(dataDir, { recursive: true });
  }
});

test('the directory has the newest change that another server makes while it is written', async () => {
  const log = pino({ level: 'silent' });
  const dataDir = await mkdtemp(path.join(tmpdir(), 'projector-'));
  const store = openStore({ dataDir, log });
  await store.start();
  const bus = new MemoryBus({ log });
  await bus.start();
  await claim(bus);
  const serverKeys = await ServerKeys.load({ meta: store.meta });
  const leases = { known: true, list: () => [], isRevoked: () => false, revokedAt: () => 0 };
  const authority = { changedAt: async () => 0 };
  const [one, two] = [1, 2].map(
    () =>
      new DirectoryProjector({ store, bus, serverKeys, installation: INSTALLATION, leases, authority, log }),
  );
  const ids = (await addDevices(store, 'd', 3)) as [string, string, string];
  const { directory } = bus;
  const begin = directory.begin.bind(directory);
  directory.begin = async (options) => {
    const writing = await begin(options);
    const put: typeof writing.put = async (devices) => {
      // The rows were read, and are not written yet.
      await store.devices.setBlocked(ids[0], 1);
      await store.devices.delete(ids[1], 1);
      await two?.devicesChanged([ids[0], ids[1]]);
      return writing.put(devices);
    };
    return { ...writing, put };
  };
  try {
    await one?.start();
    await waitFor(async () => {
      const [blocked, deleted, other] = await directory.devices(ids);
      return blocked?.state === 'blocked' && deleted?.state === 'deleted' && other?.state === 'active';
    });
  } finally {
    await one?.stop();
    await bus.stop();
    await store.stop();
    await rm(dataDir, { recursive: true });
  }
});

test.run();
