/** Up to when everything that gateways had from devices is applied: what an end waits for, and how long. */
import pino from 'pino';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Frontier, type Verdict } from '../../admin-api/ledger/frontier.ts';
import { MemoryBus } from '../../bus/memory-bus.ts';
import { identity, LONG_MS, load } from '../bus/samples.ts';

const PATIENCE_MS = 300_000;
/** From which a worker that has not said up to when it appended is behind. */
const BEHIND_MS = 30_000;
const MOMENT = 1_000_000;

interface Scene {
  frontier: Frontier;
  bus: MemoryBus;
  clock: { now: number };
  /** Incarnations of two workers. */
  workers: [string, string];
  /** Which workers were asked, since this was last called. */
  asked(): Promise<string[]>;
  /** For an end as of `MOMENT` of a device without a session. */
  verdict(): Promise<Verdict>;
}

async function withFrontier(body: (scene: Scene) => Promise<void>): Promise<void> {
  const bus = new MemoryBus();
  await bus.start();
  const acquire = (worker: string) => bus.leases.acquire({ ...identity, worker }, load, LONG_MS);
  const workers: [string, string] = [await acquire('gw1/0'), await acquire('gw1/1')];
  const clock = { now: MOMENT };
  const values = new Map<string, string>();
  const meta = {
    get: async (key: string) => values.get(key) ?? null,
    set: async (key: string, value: string) => void values.set(key, value),
    list: async (prefix: string) =>
      [...values].filter(([key]) => key.startsWith(prefix)).map(([key, value]) => ({ key, value })),
    delete: async (keys: readonly string[]) => {
      for (const key of keys) values.delete(key);
    },
  };
  const frontier = new Frontier({
    store: { meta } as unknown as ConstructorParameters<typeof Frontier>[0]['store'],
    bus,
    now: () => clock.now,
    log: pino({ level: 'silent' }),
    patienceMs: PATIENCE_MS,
  });
  const questions: string[] = [];
  for (const worker of workers) await bus.leases.onAskHeard(worker, () => questions.push(worker));
  const asked = async () => {
    await frontier.ask();
    await new Promise((resolve) => setImmediate(resolve));
    return questions.splice(0).sort();
  };
  const verdict = async () => {
    await frontier.refresh();
    return frontier.verdict(MOMENT, null, null);
  };
  try {
    await frontier.start();
    await asked();
    await body({ frontier, bus, clock, workers, asked, verdict });
  } finally {
    await bus.stop();
  }
}

test('an end waits for the workers that may have heard more, and only they are asked', () =>
  withFrontier(async ({ bus, clock, workers, asked, verdict }) => {
    const [first, second] = workers;
    clock.now = MOMENT + 1;
    await bus.leases.heard(first, MOMENT);
    assert.is(await verdict(), 'wait');
    assert.equal(await asked(), [second]);
    assert.equal(await asked(), [], 'once for each time that something waited');
    await bus.leases.heard(second, MOMENT);
    assert.equal(await verdict(), { unheard: [] });
    assert.equal(await asked(), []);
  }));

test('the end of a device that has been connected for long waits for its own worker alone', () =>
  withFrontier(async ({ frontier, bus, clock, workers, asked }) => {
    const [first] = workers;
    clock.now = MOMENT + 1;
    const session = { incarnation: first, since: MOMENT - 60_000 };
    await frontier.refresh();
    assert.is(frontier.verdict(MOMENT, session, first), 'wait');
    assert.equal(await asked(), [first]);
    await bus.leases.heard(first, MOMENT);
    await frontier.refresh();
    assert.equal(frontier.verdict(MOMENT, session, first), { unheard: [] });
  }));

test('a worker that has a lease and appends nothing is waited for a bounded time', () =>
  withFrontier(async ({ bus, clock, workers, verdict }) => {
    const [first, second] = workers;
    const heard = () => bus.leases.heard(first, clock.now);
    clock.now = MOMENT + BEHIND_MS + 1;
    await heard();
    assert.is(await verdict(), 'wait');
    // Since then it is known to be behind.
    clock.now += PATIENCE_MS - 1;
    await heard();
    assert.is(await verdict(), 'wait');
    clock.now += 1;
    await heard();
    const identities = await bus.leases.list();
    const behind = identities.find(({ incarnation }) => incarnation === second)?.identity.worker;
    assert.equal(await verdict(), { unheard: [behind] });
  }));

test('a worker that reports again after it was behind counts as heard', () =>
  withFrontier(async ({ bus, clock, workers, verdict }) => {
    clock.now = MOMENT + BEHIND_MS + 1;
    assert.is(await verdict(), 'wait');
    clock.now += PATIENCE_MS;
    for (const worker of workers) await bus.leases.heard(worker, clock.now);
    assert.equal(await verdict(), { unheard: [] });
  }));

test.run();
