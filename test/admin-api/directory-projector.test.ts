/** The projector over a real store and the in-process bus, whose writes fail where a test says so. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import pino from 'pino';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DirectoryProjector } from '../../admin-api/directory-projector.ts';
import { OrderSigner } from '../../admin-api/order-signer.ts';
import { openStore } from '../../admin-api/store/open-store.ts';
import { BusUnavailable } from '../../bus/bus.ts';
import { MemoryBus } from '../../bus/memory-bus.ts';
import { waitFor } from '../wait.ts';
import { writeDirectory } from '../write-directory.ts';
import { addDevices } from './store-fixtures.ts';

test('a bus that fails while a server starts delays the directory, also one that an earlier server wrote', async () => {
  const log = pino({ level: 'silent' });
  const dataDir = await mkdtemp(path.join(tmpdir(), 'projector-'));
  const store = openStore({ dataDir, checkNesting: true, log });
  await store.start();
  const bus = new MemoryBus({ log });
  await bus.start();
  const signer = await OrderSigner.load(store.meta);
  const leases = { known: true, list: () => [] };
  const projector = new DirectoryProjector({ store, bus, signer, leases, log });
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

test.run();
