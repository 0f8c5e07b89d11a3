/** What may become of the directory in Redis while it is written, and who may write it. */
import { Redis } from 'ioredis';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  BusUnavailable,
  DirectoryIncomplete,
  ForeignInstallation,
  type Installation,
  InstallationRestored,
} from '../../bus/bus.ts';
import { RedisBus } from '../../bus/redis/redis-bus.ts';
import { startRedis } from '../services/redis.ts';
import { waitFor } from '../wait.ts';
import { claim, INSTALLATION, writeDirectory } from '../write-directory.ts';
import { rejectsWith } from './expect.ts';
import { credentialsOf } from './mac-keys.ts';
import { device, gateway, LONG_MS, numbers } from './samples.ts';

const server = await startRedis();
const redis = new Redis(server.url);
const OTHER = { id: 'i-other', epoch: 1 };

async function withBuses(count: number, body: (...buses: RedisBus[]) => Promise<void>): Promise<void> {
  await redis.flushall();
  const buses = Array.from({ length: count }, () => new RedisBus({ url: server.url }));
  try {
    for (const bus of buses) await bus.start();
    await body(...buses);
  } finally {
    for (const bus of buses) await bus.stop();
  }
}

const many = numbers(1, 600).map((number) => device(`device-${number}`));

test('a Redis emptied at any step of a writing leaves no directory that looks whole', () =>
  withBuses(1, async (bus) => {
    await claim(bus);
    const { directory } = bus;
    const isNotWhole = async () => {
      assert.is((await directory.look()).generation, null);
      await rejectsWith(directory.devices(['device-1']), DirectoryIncomplete);
    };
    const steps = ['begun', 'put some', 'put all', 'changed one'] as const;
    for (const at of steps) {
      const writing = await directory.begin();
      const emptied = async (step: (typeof steps)[number]) => {
        if (step === at) await redis.flushall();
      };
      const written = (async () => {
        await emptied('begun');
        await writing?.put(many.slice(0, 300));
        await emptied('put some');
        await writing?.put(many.slice(300));
        await emptied('put all');
        await directory.putDevices([device('device-1', 2)]);
        await emptied('changed one');
        return writing?.finish();
      })();
      await rejectsWith(written, DirectoryIncomplete);
      await claim(bus);
      await isNotWhole();
      await directory.putDevices([device('device-1')]);
      await isNotWhole();
    }
    // Twice: nothing of the first writing may be taken for one of the second.
    const first = await directory.begin();
    await first?.put(many);
    await redis.flushall();
    const second = await directory.begin();
    await rejectsWith(first?.finish() as Promise<string>, DirectoryIncomplete);
    await second?.put(many.slice(0, 10));
    await redis.flushall();
    await rejectsWith(second?.finish() as Promise<string>, DirectoryIncomplete);
    await writeDirectory(bus, many);
    assert.is((await directory.look()).devices, many.length);
    assert.is((await directory.devices(['device-600', 'nobody'])).length, 2);
  }));

test('of two servers that want to write, one does; one that ended in the middle is followed by another', () =>
  withBuses(2, async (one, two) => {
    await claim(one);
    await claim(two);
    const writing = await one.directory.begin();
    assert.is(await two.directory.begin(), null);
    // One that failed half-way is not in its own way.
    await writing?.put(many.slice(0, 10));
    const again = await one.directory.begin();
    await rejectsWith(writing?.finish() as Promise<string>, DirectoryIncomplete);
    assert.is(await two.directory.begin(), null);
    await again?.put(many);
    // It was heard of long ago: the server was killed.
    const [generation, installation] = (await redis.hget('pp:directory', ' writing'))?.split(' ') ?? [];
    await redis.hset('pp:directory', ' writing', `${generation} ${installation} 0`);
    const followed = await two.directory.begin();
    assert.ok(followed);
    await rejectsWith(again?.finish() as Promise<string>, DirectoryIncomplete);
    await followed?.put(many);
    assert.is(typeof (await followed?.finish()), 'string');
  }));

test('contents that were changed by another way are noticed, and replaced', () =>
  withBuses(1, async (bus) => {
    const ways: Record<string, () => Promise<unknown>> = {
      'a device removed': () => redis.hdel('pp:directory', 'device-7'),
      'a device added': () => redis.hset('pp:directory', 'device-0', 'what'),
      'an earlier state of it': async () => {
        const before = await redis.dumpBuffer('pp:directory');
        await bus.directory.putDevices([device('device-3', 2)]);
        await bus.directory.look();
        await redis.restore('pp:directory', 0, before as Buffer, 'REPLACE');
      },
    };
    for (const [way, change] of Object.entries(ways)) {
      await writeDirectory(bus, many);
      assert.ok((await bus.directory.look()).generation, way);
      await change();
      const { generation, altered } = await bus.directory.look();
      assert.equal([generation, altered], [null, true], way);
      await (await bus.directory.begin({ clear: true }))?.put(many);
      await rejectsWith(bus.directory.devices(['device-1']), DirectoryIncomplete);
      await redis.del('pp:directory');
    }
  }));

test('devices are missing or blocked for good only by a directory that a server looks after now', () =>
  withBuses(1, async (bus) => {
    const generation = await writeDirectory(bus, [
      device('d1'),
      { ...device('d2'), state: 'blocked' as const },
    ]);
    const ask = (id: string) => bus.directory.devices([id]);
    assert.equal(await ask('d3'), [null]);
    assert.is((await ask('d2'))[0]?.state, 'blocked');
    await redis.del('pp:directory:vouched');
    assert.is((await ask('d1'))[0]?.id, 'd1');
    await rejectsWith(ask('d2'), DirectoryIncomplete);
    await rejectsWith(ask('d3'), DirectoryIncomplete);
    await bus.directory.vouch('of another writing', LONG_MS);
    await rejectsWith(ask('d3'), DirectoryIncomplete);
    await bus.directory.vouch(generation, LONG_MS);
    assert.equal(await ask('d3'), [null]);
  }));

test('a list of gateways is whole, or is not there, also where another installation left one', () =>
  withBuses(1, async (bus) => {
    await claim(bus);
    await rejectsWith(bus.directory.gateways(), DirectoryIncomplete);
    await bus.directory.setGateways([gateway('gw1'), gateway('gw2')]);
    await redis.hset('pp:gateways', ' owner', OTHER.id);
    await rejectsWith(bus.directory.gateways(), DirectoryIncomplete);
    await bus.directory.putGateways([gateway('gw3')]);
    assert.equal(await bus.directory.gateways(), [gateway('gw3')]);
  }));

test('a Redis serves one installation: the error for the other names both, whoever came first', () =>
  withBuses(2, async (one, two) => {
    const outcomes = await Promise.allSettled([claim(one), claim(two, OTHER)]);
    assert.equal(outcomes.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
    const refused = outcomes.find((outcome) => outcome.status === 'rejected')?.reason as Error;
    assert.instance(refused, ForeignInstallation);
    assert.match(refused.message, INSTALLATION.id);
    assert.match(refused.message, OTHER.id);
    assert.match(refused.message, '--redis-prefix');
  }));

test('with a prefix each, two installations share a Redis and nothing in it', async () => {
  await redis.flushall();
  const buses = ['pp', 'two'].map((prefix) => new RedisBus({ url: server.url, prefix }));
  const [one, two] = buses as [RedisBus, RedisBus];
  try {
    for (const bus of buses) await bus.start();
    await writeDirectory(one, [device('d1')]);
    await claim(two, OTHER);
    await writeDirectory(two, [device('d2')]);
    assert.equal([(await one.directory.devices(['d1', 'd2']))[1], one.owner.current?.id], [null, 'i-test']);
    assert.equal([(await two.directory.devices(['d1', 'd2']))[0], two.owner.current?.id], [null, 'i-other']);
    const keys = await redis.keys('*');
    assert.ok(
      keys.every((key) => /^(pp|two):/.test(key)),
      keys.join(' '),
    );
  } finally {
    for (const bus of buses) await bus.stop();
  }
});

test('a displaced server leaves Redis alone and says so, and takes it back once the other is gone', () =>
  withBuses(3, async (one, two, reader) => {
    await writeDirectory(one, many);
    await waitFor(() => reader.owner.current !== null, { what: 'a gateway to learn whose Redis it is' });
    // Somebody empties Redis, and another installation is faster than the first.
    await redis.multi().flushall().hset('pp:installation', 'id', OTHER.id, 'epoch', 1, 'seen', 1e15).exec();
    await two.owner.claim(OTHER);
    await writeDirectory(two, [device('theirs')]);
    for (const bus of [one, reader]) {
      await waitFor(() => !bus.status().available, { what: 'the bus to be unavailable' });
      assert.match(bus.status().reason ?? '', OTHER.id);
      assert.match(bus.status().reason ?? '', INSTALLATION.id);
      await rejectsWith(bus.directory.devices(['device-1']), BusUnavailable);
      await rejectsWith(bus.directory.putDevices([device('device-1')]), BusUnavailable);
      await rejectsWith(
        bus.receipts.append([{ kind: 'ack', device: 'd', command: 'c', at: 1 }]),
        BusUnavailable,
      );
    }
    assert.is((await two.directory.devices(['theirs']))[0]?.id, 'theirs');
    await two.stop();
    // It was heard of for the last time long ago.
    await redis.hset('pp:installation', 'seen', 1);
    for (const bus of [one, reader]) {
      await waitFor(() => bus.status().available, { what: 'the bus to be available' });
    }
    await rejectsWith(reader.directory.devices(['device-1']), DirectoryIncomplete);
    await writeDirectory(one, many);
    assert.is((await reader.directory.devices(['device-1']))[0]?.id, 'device-1');
  }));

test('a database that is older than what Redis has seen is refused, with what to do', () =>
  withBuses(2, async (one, two) => {
    await claim(one, { ...INSTALLATION, epoch: 3 });
    assert.is((await two.owner.held())?.epoch, 3);
    const refused = await two.owner.claim({ ...INSTALLATION, epoch: 2 }).catch((error: unknown) => error);
    assert.instance(refused, InstallationRestored);
    assert.match((refused as Error).message, 'pushpoint restored');
    // A server of an earlier epoch that still runs does nothing more.
    await two.owner.claim({ ...INSTALLATION, epoch: 4 });
    await waitFor(() => !one.status().available, { what: 'the older to be unavailable' });
    assert.match(one.status().reason ?? '', 'epoch 4');
  }));

test('a gateway reminds a Redis that forgot the latest epoch, and a server on an older copy is held', () =>
  withBuses(3, async (one, gateway, older) => {
    await claim(one, { ...INSTALLATION, epoch: 3 });
    await waitFor(() => gateway.owner.current?.epoch === 3, { what: 'the gateway to see epoch 3' });
    await one.stop();
    await redis.flushall();
    await older.owner.claim({ ...INSTALLATION, epoch: 2 });
    await waitFor(() => !older.status().available, { what: 'the server to be held' });
    assert.match(older.status().reason ?? '', 'epoch 3');
    assert.is(gateway.status().available, true);
  }));

test('an epoch that no administration server began holds nobody, and is put right', () =>
  withBuses(3, async (one, gateway, older) => {
    const epochMac = { of: ({ id, epoch }: Installation) => `${id} ${epoch} authentic` };
    await one.owner.claim({ ...INSTALLATION, epoch: 2 }, epochMac);
    for (const epoch of ['9007199254740991', 'inf', '1e400', 'three']) {
      await redis.hset('pp:installation', 'epoch', epoch);
      await waitFor(async () => (await redis.hget('pp:installation', 'epoch')) === '2', { what: 'epoch 2' });
      assert.is((await gateway.owner.held(epochMac))?.epoch, 2);
      assert.is(one.status().available, true, one.status().reason);
    }
    await redis.hset('pp:installation', 'epoch', 7);
    assert.is((await gateway.owner.held(epochMac))?.epoch, 0);
    await older.owner.claim({ ...INSTALLATION, epoch: 2 }, epochMac);
    // What a server did begin still counts.
    await rejectsWith(older.owner.claim({ ...INSTALLATION, epoch: 1 }, epochMac), InstallationRestored);
    assert.is(one.status().available, true);
  }));

/** A gateway that was told `epoch` when it got its certificate. */
async function joined(epoch: number, seal: string): Promise<RedisBus> {
  const installation = { ...INSTALLATION, epoch, seal };
  const bus = new RedisBus({
    url: server.url,
    credentials: () => ({ ...credentialsOf('gw1'), installation }),
  });
  await bus.start();
  return bus;
}

test('a gateway that joined passes on no epoch that others wrote, and recalls the one that it was told', () =>
  withBuses(1, async (one) => {
    const epochMac = { of: ({ id, epoch }: Installation) => `${id} ${epoch} authentic` };
    const own = { ...INSTALLATION, epoch: 2 };
    await one.owner.claim(own, epochMac);
    const gateway = await joined(2, epochMac.of(own));
    try {
      await redis.hset('pp:installation', 'epoch', 99);
      await gateway.owner.look();
      assert.equal([gateway.owner.current?.epoch, gateway.owner.seen], [2, 99]);
      await one.owner.look();
      for (const bus of [gateway, one, gateway]) {
        await bus.owner.look();
        assert.is(await redis.hget('pp:installation', 'epoch'), '2');
      }
      assert.is(gateway.owner.seen, 2);
      // An older copy, after Redis lost what it knew.
      await one.stop();
      await redis.flushall();
      const older = new RedisBus({ url: server.url });
      await older.start();
      await older.owner.claim({ ...own, epoch: 1 }, epochMac);
      await gateway.owner.look();
      await older.owner.look();
      assert.match(older.owner.problem ?? '', 'epoch 2 was in use');
      await older.stop();
      // Whoever names another installation meanwhile has the gateway wait, and does not win it over.
      await redis.hset('pp:installation', 'id', 'i-evil');
      await gateway.owner.look();
      assert.equal(gateway.owner.current?.id, INSTALLATION.id);
      assert.match(gateway.owner.problem ?? '', 'belongs to installation i-evil');
      assert.match(gateway.owner.problem ?? '', 'delete the folder with its identity (gateways/NAME');
    } finally {
      await gateway.stop();
    }
  }));

test.after(async () => {
  redis.disconnect();
  await server.stop();
});

test.run();
