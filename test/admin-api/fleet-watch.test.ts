import pino from 'pino';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { FleetWatch } from '../../admin-api/health/fleet-watch.ts';
import type { Meta } from '../../admin-api/store/store.ts';
import type { Lease } from '../../bus/bus.ts';
import { identity, load } from '../bus/samples.ts';

const log = pino({ level: 'silent' });
const DAY_MS = 86_400_000;

/** A watch over two workers with as many devices as the test says. */
function setup(kept = new Map<string, string>()) {
  const connected = [0, 0];
  let at = Date.parse('2026-03-01T00:00:00Z');
  const meta = {
    get: async (key: string) => kept.get(key) ?? null,
    set: async (key: string, value: string) => void kept.set(key, value),
  } as Meta;
  const leases = {
    known: true,
    list: (): Lease[] =>
      connected.map((connections, n) => ({
        incarnation: `i${n}`,
        identity,
        load: { ...load, connections },
        since: 0,
        heardUpTo: 0,
      })),
  };
  const watch = new FleetWatch({ meta, leases, log, now: () => at });
  const see = async (...devices: number[]) => {
    connected.splice(0, connected.length, ...devices);
    await watch.look();
    return watch.report().warnings;
  };
  return { watch, see, kept, leases, pass: (ms: number) => (at += ms) };
}

test('no device where many were is a warning, and no reason not to be ready', async () => {
  const { watch, see } = setup();
  assert.is(await see(0, 0), undefined);
  assert.is(await see(1_000, 500), undefined);
  const [warning] = (await see(0, 0)) ?? [];
  assert.is(warning, 'no device is connected, and 1,500 were on 2026-03-01T00:00:00.000Z');
  assert.ok(watch.report().ok);
  assert.is(await see(0, 1), undefined);
});

test('a server that restarts remembers how many there were, for a week', async () => {
  const before = setup();
  await before.see(100, 0);
  const after = setup(before.kept);
  await after.watch.start();
  await after.watch.stop();
  assert.is((await after.see(0, 0))?.length, 1);
  after.pass(8 * DAY_MS);
  assert.is(await after.see(0, 0), undefined);
});

test('a few that are switched off together are no warning, and neither is what is not known', async () => {
  const few = setup();
  await few.see(5, 5);
  assert.is(await few.see(0, 0), undefined);
  const many = setup();
  await many.see(50, 50);
  many.leases.known = false;
  assert.is(await many.see(0, 0), undefined);
});

test.run();
