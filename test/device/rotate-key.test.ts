/** A device changes its own key (PROTOCOL.md, K-6), without a server that answers. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type DeviceKey, nodeCrypto } from '../../device/index.ts';
import { fixture } from './fixture.ts';

/** Keys are generated when `open` is called; no request is answered. */
async function rotating() {
  const made: DeviceKey[] = [];
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  const requests: URL[] = [];
  const crypto = {
    ...nodeCrypto,
    generate: async () => {
      await opened;
      const key = await nodeCrypto.generate();
      made.push(key);
      return key;
    },
  };
  const fetch = async (url: URL) => {
    requests.push(url);
    throw new Error('no server');
  };
  const f = await fixture({ options: { crypto, fetch, server: 'http://127.0.0.1:9' } });
  return Object.assign(f, { made, requests, open });
}

test('K-6: two calls at once ask for one key', async () => {
  const f = await rotating();
  const calls = [f.device.rotateKey(), f.device.rotateKey()];
  f.open();
  const ends = await Promise.allSettled(calls);
  assert.equal(
    ends.map(({ status }) => status),
    ['rejected', 'rejected'],
  );
  assert.is(f.made.length, 1);
  assert.is(f.requests.length, 1);
  // A later call is another one, and goes on with the same key.
  await f.device.rotateKey().catch(() => undefined);
  assert.is(f.made.length, 1);
  assert.is(f.requests.length, 2);
  await f.end();
});

test('K-6: a device that is stopped meanwhile asks for no key, as it stored none', async () => {
  const f = await rotating();
  const call = f.device.rotateKey().catch((error: Error) => error.message);
  await f.device.stop();
  f.open();
  assert.is(await call, 'stopped');
  assert.equal(f.requests, []);
  assert.is((await f.store.load()).state.nextKey, undefined);
  await f.end();
});

test.run();
