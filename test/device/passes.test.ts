import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ServerClock } from '../../device/executions/server-clock.ts';
import { GatewayPasses } from '../../device/gateways/passes.ts';
import { nodeCrypto } from '../../device/index.ts';
import { encodePass, type Pass, passBytes } from '../../protocol/index.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const T = 1_800_000_000_000;

async function rig() {
  const key = await nodeCrypto.generate();
  let now = 0;
  const clock = new ServerClock(0, () => now);
  const passes = new GatewayPasses({
    verify: (bytes, sig) => nodeCrypto.verify(key.publicKey, bytes, sig),
    clock,
    monotonic: () => now,
  });
  const pass = async (over: Partial<Pass> = {}) => {
    const body = encodePass({ gateway: 'gw-1', issuedAt: T, expiresAt: T + DAY, ...over });
    return { body, sig: await nodeCrypto.sign(key.privateKey, passBytes(body)) };
  };
  return { clock, passes, pass, passMs: (ms: number) => (now += ms) };
}

test('S-9: a pass counts for the gateway it names, until it expires, and raises the floor', async () => {
  const { clock, passes, pass } = await rig();
  clock.told(T + HOUR);
  assert.is(await passes.judge('gw-1', undefined), 0);
  assert.is(await passes.judge('gw-2', await pass()), 0);
  assert.is(clock.floor, 0);
  assert.is(await passes.judge('gw-1', await pass()), 23 * HOUR);
  assert.is(clock.floor, T);
  clock.told(T + 2 * DAY);
  assert.is(await passes.judge('gw-3', await pass({ gateway: 'gw-3' })), 0);
});

test('S-9: one that is signed by another key, or is none, does not count', async () => {
  const [{ clock, passes }, other] = [await rig(), await rig()];
  clock.told(T);
  assert.is(await passes.judge('gw-1', await other.pass()), 0);
  assert.is(await passes.judge('gw-1', { body: Uint8Array.of(0x80), sig: new Uint8Array(64) }), 0);
});

test('S-9: a gateway does not make a pass last by showing it again and telling an earlier time', async () => {
  const { clock, passes, pass, passMs } = await rig();
  clock.told(T);
  const shown = await pass();
  assert.is(await passes.judge('gw-1', shown), DAY);
  passMs(20 * HOUR);
  clock.told(T);
  assert.is(await passes.judge('gw-1', shown), 4 * HOUR);
  assert.is(await passes.judge('gw-1', await pass({ issuedAt: T - HOUR })), 4 * HOUR);
  passMs(4 * HOUR);
  clock.told(T);
  assert.is(await passes.judge('gw-1', shown), 0);
  clock.told(T + DAY);
  assert.is(await passes.judge('gw-1', await pass({ issuedAt: T + DAY, expiresAt: T + 2 * DAY })), DAY);
});

test('S-9: none lasts longer than a day', async () => {
  const { clock, passes, pass } = await rig();
  clock.told(T);
  assert.is(await passes.judge('gw-1', await pass({ expiresAt: T + 30 * DAY })), DAY);
});

test.run();
