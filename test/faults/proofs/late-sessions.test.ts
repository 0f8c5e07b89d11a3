/**
 * A device that went to another gateway is that gateway's, whatever the first one does once it is too late.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Bus } from '../../../bus/bus.ts';
import { RedisBus } from '../../../bus/redis/redis-bus.ts';
import { connectDevice, type Identity, type RawDevice } from '../../gateway/raw-device.ts';
import { CuttableBus, Rig } from '../../gateway/rig.ts';
import { type RedisServer, startRedis } from '../../services/redis.ts';
import { waitFor } from '../../wait.ts';
import { random } from './seed.ts';

const NEVER_MS = 60_000;
const MOST = 20;

let redis: RedisServer;
test.before(async () => {
  redis = await startRedis();
});
test.after(() => redis.stop());

interface Visitor {
  identity: Identity;
  old: RawDevice;
  /** Of its newer session. */
  session: number;
}

interface Pair {
  bus: RedisBus;
  first: Rig;
  second: Rig;
  visitors: Visitor[];
  released: string[];
  /** Who holds the visitors, in order. */
  holders(): Promise<(number | undefined)[]>;
}

/** The outbox of the first gateway is not read, so it does not hear that its devices are elsewhere. */
async function withPair(body: (pair: Pair) => Promise<void>): Promise<void> {
  const bus = new RedisBus({ url: redis.url, prefix: `p${random.below(1_000_000)}` });
  await bus.start();
  const released: string[] = [];
  const unaware = changed<Bus>(bus, {
    outboxes: changed(bus.outboxes, {
      onHint: async () => async () => {},
      read: async (_, position) => ({
        position: position ?? { epoch: 'none', offset: '0-0' },
        entries: [],
        lost: false,
      }),
    }),
    presence: changed(bus.presence, {
      release: async (incarnation, sessions) => {
        await bus.presence.release(incarnation, sessions);
        released.push(...sessions.map(({ device }) => device));
      },
    }),
  });
  const first = new Rig({ bus: new CuttableBus(unaware), config: { outboxPollMs: NEVER_MS } });
  const second = new Rig({ bus: new CuttableBus(bus), config: { name: 'gw2' } });
  try {
    await first.start({});
    await second.start({});
    const visitors: Visitor[] = [];
    for (let n = 1 + random.below(MOST); n > 0; n--) {
      const identity = await first.enrol();
      const { device: old } = await connectDevice(first.url, identity);
      const { session } = await connectDevice(second.url, identity);
      visitors.push({ identity, old, session });
    }
    const holders = async () => {
      const held = await bus.presence.locate(visitors.map(({ identity }) => identity.id));
      return held.map((holder) => holder?.session);
    };
    await body({ bus, first, second, visitors, released, holders });
  } finally {
    await first.stop();
    await second.stop();
    await bus.stop();
  }
}

/** The same, but for some of its members. */
function changed<T extends object>(whole: T, changes: Partial<T>): T {
  return new Proxy(whole, {
    get(target, key) {
      const value = Reflect.get(key in changes ? changes : target, key);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

test('a connection that closes late does not remove the newer session from presence', () =>
  withPair(async ({ visitors, released, holders }) => {
    const order = random.some(visitors.length, visitors);
    for (const { old } of order) await old.close();
    await waitFor(() => released.length === visitors.length, { what: 'the old sessions to be released' });
    assert.equal(
      await holders(),
      visitors.map(({ session }) => session),
    );
  }));

test('a gateway that claims its sessions again does not take those that are newer elsewhere', () =>
  withPair(async ({ bus, first, visitors, holders }) => {
    await bus.leases.release(await first.incarnation());
    // Whichever comes first: the old connections are told that they were replaced, or the newer sessions are
    // lost.
    const newer = visitors.map(({ session }) => session);
    const decided = async () =>
      visitors.every(({ old }) => old.closing) || (await holders()).some((held, n) => held !== newer[n]);
    await waitFor(decided, { timeoutMs: 30_000, what: 'the sessions to be claimed again' });
    assert.equal(await holders(), newer);
  }));

test.run();
