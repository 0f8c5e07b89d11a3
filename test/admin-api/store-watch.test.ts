import pino from 'pino';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { StoreWatch } from '../../admin-api/health/store-watch.ts';
import { StoreUnavailable } from '../../admin-api/store/store.ts';
import { waitFor } from '../wait.ts';
import { startHttp } from './http-harness.ts';

/** A database that does what the test says. */
class FakeMeta {
  reads: () => Promise<string | null> = async () => null;
  writes: () => Promise<void> = async () => {};
  get = () => this.reads();
  set = () => this.writes();
  setOnce = async (_key: string, value: string) => value;
  hold = async () => true;
}

const away = () => Promise.reject(new StoreUnavailable('connection refused'));

function watchOf(meta: FakeMeta): StoreWatch {
  const store = { meta } as unknown as ConstructorParameters<typeof StoreWatch>[0]['store'];
  return new StoreWatch({ store, log: pino({ level: 'silent' }) });
}

const failure = async (work: Promise<unknown>): Promise<Error> =>
  work.then(
    () => assert.unreachable('it should have failed') as never,
    (error: Error) => error,
  );

test('work that waits for a database that is away is refused at once, and so is later work', async () => {
  const meta = new FakeMeta();
  const watch = watchOf(meta);
  await watch.look();
  assert.is(await watch.guard('read', async () => 7), 7);
  const hangs = failure(watch.guard('read', () => new Promise(() => {})));
  meta.reads = away;
  await watch.look();
  assert.instance(await hangs, StoreUnavailable);
  let tried = false;
  assert.instance(
    await failure(
      watch.guard('read', async () => {
        tried = true;
      }),
    ),
    StoreUnavailable,
  );
  assert.not(tried);
  const { ok, since, reason } = watch.dependency.report();
  assert.equal([ok, reason], [false, 'connection refused']);
  assert.ok(Math.abs(Date.parse(since) - Date.now()) < 60_000);
  meta.reads = async () => null;
  await waitFor(async () => {
    await watch.look();
    return watch.dependency.ok;
  });
  assert.is(await watch.guard('read', async () => 8), 8);
});

test('a database that is read-only makes the server not ready; reads are still answered', async () => {
  const meta = new FakeMeta();
  const watch = watchOf(meta);
  await watch.look();
  meta.writes = () => Promise.reject(new StoreUnavailable('disk full'));
  await failure(watch.guard('write', away));
  await waitFor(() => !watch.dependency.ok);
  assert.is(watch.dependency.reason, 'disk full');
  let tried = false;
  const write = watch.guard('write', async () => {
    tried = true;
  });
  assert.instance(await failure(write), StoreUnavailable);
  assert.not(tried, 'what would change something is refused at once');
  assert.is(await watch.guard('read', async () => 7), 7);
  meta.writes = async () => {};
  await waitFor(async () => {
    await watch.look();
    return watch.dependency.ok;
  });
});

test('without its database the API answers 503 with Retry-After, and /ready says since when', async () => {
  const http = await startHttp();
  try {
    const { meta } = http.store;
    const { get } = meta;
    meta.get = away;
    await http.services.storeWatch.look();
    for (const [method, route] of [
      ['GET', '/v1/devices'],
      ['POST', '/v1/commands'],
      ['POST', '/v1/enroll'],
    ] as const) {
      const answer = await http.call(method, route, { as: null, ...(method === 'POST' && { body: {} }) });
      // Whoever sends nonsense is told so all the same.
      if (answer.status === 400 || answer.status === 401) continue;
      assert.is(answer.status, 503, route);
    }
    const answer = await http.call('POST', '/v1/commands', { body: { type: 'sync', target: { all: true } } });
    assert.equal([answer.status, answer.headers.get('retry-after')], [503, '5']);
    const ready = await http.call('GET', '/ready', { as: null });
    assert.equal([ready.status, ready.body.dependencies.store.ok], [503, false]);
    assert.is(ready.body.dependencies.store.reason, 'connection refused');
    assert.is((await http.call('GET', '/live', { as: null })).status, 200, 'a restart would not help');
    meta.get = get;
    await http.services.storeWatch.look();
    assert.is((await http.call('GET', '/v1/devices')).status, 200);
    assert.is((await http.call('GET', '/ready', { as: null })).status, 200);
  } finally {
    await http.stop();
  }
});

test.run();
