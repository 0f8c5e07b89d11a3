import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { checkAgentConfig } from '../../device/agent/index.ts';
import { DeviceKeys } from '../../device/executions/device-keys.ts';
import { nodeCrypto } from '../../device/index.ts';
import { nodeFrameCipher } from '../../device/platform/frame-cipher-node.ts';
import { AllowList } from '../../device/tunnels/allow-list.ts';
import { DeviceTunnels } from '../../device/tunnels/tunnels.ts';
import { decodeLegMessage, decodeTunnelFrame, encodeHello, encodeOpen } from '../../protocol/index.ts';
import type { LegDial, LegSocketEvents } from '../../tunnel/index.ts';
import { SealingEnd, wrapKey } from '../tunnel/sealing.ts';

const KEY = new Uint8Array(32).fill(9);
const secret = new Uint8Array(32).fill(3);
const owner = new DeviceKeys({ deviceId: 'dev-1', secret, generation: 1, server: '' }, nodeCrypto);
const wrapped = (tunnel: string) => wrapKey({ id: owner.deviceId, secret }, tunnel, KEY);

/** A gateway that lets everybody in, and the operator's end behind it. */
function fakeGateway() {
  /** By the url of a gateway; with the first key where it is not said. */
  const ends = new Map<string, SealingEnd>();
  const operator = new SealingEnd(KEY, 'operator');
  const endAt = (url: string) => ends.get(url) ?? operator;
  /** Gateways that answer nothing. */
  const silent = new Set<string>();
  const legs: { url: string; events: LegSocketEvents; texts: string[]; frames: Uint8Array[] }[] = [];
  const dial: LegDial = (url, events) => {
    const leg = { url, events, texts: [] as string[], frames: [] as Uint8Array[] };
    legs.push(leg);
    queueMicrotask(() => events.opened());
    return {
      sendText: (text) => {
        leg.texts.push(text);
        const message = decodeLegMessage(text);
        if (message?.t !== 'join' || silent.has(url)) return;
        const limits = { idleMs: 1, lifeMs: 1, maxBytes: 0 };
        events.text(JSON.stringify({ t: 'joined', resume: 'r'.repeat(43), ...limits }));
        events.text(JSON.stringify({ t: 'peer', here: true, pair: 1 }));
        const hello = encodeHello({ pair: 1, window: 262_144, highest: 0, streams: [] });
        events.binary(endAt(url).seal(hello));
      },
      sendBinary: (message) => leg.frames.push(endAt(url).open(Buffer.concat(message))),
      close: () => {},
      terminate: () => {},
    };
  };
  return { legs, dial, operator, ends, silent };
}

const args = {
  tunnel: 'tun-1',
  gateway: { name: 'gw1', url: 'ws://127.0.0.1:9' },
  worker: 0,
  ticket: 't'.repeat(43),
  key: wrapped('tun-1'),
  host: '127.0.0.1',
  port: 22,
  lifeMs: 3_600_000,
};

function command(more: object = {}, type = 'tunnel.open', issuedAt = 0) {
  return { id: 'cmd-1', type, issuedAt, expiresAt: 0, timeoutMs: 1, args: { ...args, ...more } };
}

function makeTunnels(allow: (string | number)[] = [], max?: number) {
  const gateway = fakeGateway();
  const connected: string[] = [];
  const refused: string[] = [];
  const ended: string[] = [];
  const tunnels = new DeviceTunnels(
    {
      allow,
      dial: gateway.dial,
      cipher: nodeFrameCipher,
      connect: ({ host, port }) => {
        return (stream) => {
          connected.push(`${host}:${port}`);
          stream.accepted();
          return { data: () => {}, end: () => {}, writable: () => {}, closed: () => {} };
        };
      },
      ...(max === undefined ? {} : { maxTunnels: max }),
    },
    {
      opened: () => {},
      ended: ({ reason }) => ended.push(reason ?? ''),
      refused: ({ reason }) => refused.push(reason ?? ''),
    },
  );
  const open = (more: object = {}, issuedAt = 0) =>
    tunnels.open(command(more, 'tunnel.open', issuedAt), owner);
  return { tunnels, gateway, connected, refused, ended, open };
}

async function rejection(opening: Promise<unknown>): Promise<string> {
  try {
    await opening;
  } catch (error) {
    assert.is((error as Error).name, 'Rejected');
    return (error as Error).message;
  }
  throw new Error('opened');
}

test('T-12: nothing is allowed that is not named, and a port alone means this device', () => {
  assert.is(new AllowList([]).allows('127.0.0.1', 22), false);
  const list = new AllowList([22, '5432', 'db.internal:5432', '[fe80::1]:80', '10.0.0.7:3389']);
  for (const [host, port] of [
    ['127.0.0.1', 22],
    ['localhost', 22],
    ['LOCALHOST', 22],
    ['::1', 5432],
    ['db.internal', 5432],
    ['DB.internal', 5432],
    ['fe80::1', 80],
    ['10.0.0.7', 3389],
  ] as const) {
    assert.ok(list.allows(host, port), `${host} ${port}`);
  }
  for (const [host, port] of [
    ['127.0.0.1', 23],
    ['127.0.0.2', 22],
    ['0.0.0.0', 22],
    ['db.internal', 22],
    ['evil.db.internal', 5432],
    ['db.internal.', 5432],
    ['10.0.0.7', 22],
    ['', 22],
  ] as const) {
    assert.not(list.allows(host, port), `${host} ${port}`);
  }
  for (const wrong of ['', 'ssh', 0, 65_536, '22;23', 'a b:22', ':22', 'host:', '1.2.3.4:5:6']) {
    assert.throws(() => new AllowList([wrong]), undefined, String(wrong));
  }
});

test('T-12: a tunnel to what the device does not allow is rejected, and nobody is dialed', async () => {
  const { gateway, open } = makeTunnels([22]);
  for (const more of [{ port: 23 }, { host: '10.0.0.1' }, { host: '0.0.0.0' }]) {
    assert.match(await rejection(open(more)), 'this device does not allow tunnels to');
  }
  for (const more of [
    { ticket: '' },
    { gateway: { name: 'gw1', url: 'http://x' } },
    { worker: 'x' },
    { port: 0 },
    { tunnel: 7 },
  ]) {
    assert.match(await rejection(open(more)), 'arguments: ');
  }
  assert.match(await rejection(open({ resume: true })), 'no such tunnel');
  assert.is(gateway.legs.length, 0);
});

test('T-12: every stream must match the list and the signed target, whatever is asked for', async () => {
  const { tunnels, gateway, connected, refused, open } = makeTunnels([22, 23]);
  assert.equal(await open(), {});
  const [leg] = gateway.legs;
  assert.is(leg?.url, 'ws://127.0.0.1:9/tunnel');
  for (const frame of [
    encodeOpen(1, '127.0.0.1', 22),
    encodeOpen(2, '127.0.0.1', 23),
    encodeOpen(3, '10.0.0.1', 22),
  ]) {
    leg?.events.binary(gateway.operator.seal(frame));
  }
  assert.equal(connected, ['127.0.0.1:22']);
  assert.equal(refused, ['this tunnel leads elsewhere', 'this tunnel leads elsewhere']);
  const answers = (leg?.frames ?? []).slice(1).map((frame) => decodeTunnelFrame(frame).type);
  assert.equal(answers, ['opened', 'reset', 'reset']);
  assert.match(await rejection(open()), 'open already');
  assert.match(await rejection(open({ resume: true, port: 23 })), 'leads elsewhere');
  assert.equal(tunnels.close(command({}, 'tunnel.close')), { wasOpen: true });
  assert.equal(tunnels.close(command({}, 'tunnel.close')), { wasOpen: false });
});

const KEY_2 = new Uint8Array(32).fill(8);
const SECOND = {
  gateway: { name: 'gw2', url: 'ws://127.0.0.2:9' },
  ticket: 'u'.repeat(43),
  key: wrapKey({ id: owner.deviceId, secret }, 'tun-1', KEY_2),
};
const SECOND_URL = 'ws://127.0.0.2:9/tunnel';

test('T-15: a tunnel that moves before it opened goes on elsewhere, with another key', async () => {
  const { tunnels, gateway, connected, ended, open } = makeTunnels([22, 23]);
  const second = new SealingEnd(KEY_2, 'operator');
  gateway.ends.set(SECOND_URL, second);
  await open({}, 5);
  assert.match(await rejection(open({ ...SECOND, port: 23 }, 6)), 'leads elsewhere');
  assert.match(await rejection(open(SECOND, 5)), 'open already');
  assert.equal(await open(SECOND, 6), {});
  const [before, after] = gateway.legs;
  assert.is(after?.url, SECOND_URL);
  assert.equal(JSON.parse(before?.texts.at(-1) ?? '{}'), { t: 'end', reason: 'moved' });
  // Both ways with the second key, counted from 1.
  assert.is(decodeTunnelFrame(after?.frames[0] ?? new Uint8Array()).type, 'hello');
  after?.events.binary(second.seal(encodeOpen(1, '127.0.0.1', 22)));
  assert.equal(connected, ['127.0.0.1:22']);
  // A command that was overtaken takes it nowhere.
  assert.match(await rejection(open({ resume: true }, 5)), 'open already');
  assert.match(await rejection(open({}, 4)), 'open already');
  assert.equal([gateway.legs.length, tunnels.size, ended], [2, 1, []]);
  tunnels.stop();
});

test('T-15: a tunnel moves although its first gateway has not let the device in, or is gone', async () => {
  for (const isGone of [false, true]) {
    const { tunnels, gateway, ended, open } = makeTunnels([22]);
    gateway.silent.add('ws://127.0.0.1:9/tunnel');
    gateway.silent.add(SECOND_URL);
    gateway.ends.set(SECOND_URL, new SealingEnd(KEY_2, 'operator'));
    const first = open({}, 5);
    await new Promise(setImmediate);
    const moved = open(SECOND, 6);
    await new Promise(setImmediate);
    await new Promise(setImmediate);
    const [before, after] = gateway.legs;
    if (isGone) before?.events.closed({ code: 4450, reason: 'not-joined' });
    gateway.silent.clear();
    after?.events.text(
      JSON.stringify({ t: 'joined', resume: 'r'.repeat(43), idleMs: 1, lifeMs: 1, maxBytes: 0 }),
    );
    assert.equal([await moved, await first], [{}, {}]);
    assert.equal([tunnels.size, ended], [1, []]);
    tunnels.stop();
  }
});

test('T-15: a key that was not encrypted for this device and this tunnel opens nothing', async () => {
  const { tunnels, gateway, open } = makeTunnels([22]);
  const other = { id: 'dev-2', secret };
  const stranger = { id: owner.deviceId, secret: new Uint8Array(32) };
  const good = wrapped('tun-1');
  for (const key of [
    undefined,
    '',
    7,
    good.slice(0, 79),
    `${good}A`,
    `${good.startsWith('A') ? 'B' : 'A'}${good.slice(1)}`,
    wrapped('tun-2'),
    wrapKey(other, 'tun-1', KEY),
    wrapKey(stranger, 'tun-1', KEY),
  ]) {
    assert.match(await rejection(open({ key })), /key (is needed|does not open)/);
  }
  assert.is(gateway.legs.length, 0);
  assert.equal(await open(), {});
  tunnels.stop();
});

test('T-14: a tunnel whose frames were made without its key ends, and no port is reached', async () => {
  const { tunnels, gateway, connected, ended, open } = makeTunnels([22]);
  await open();
  const [leg] = gateway.legs;
  const attacker = new SealingEnd(new Uint8Array(32), 'operator');
  leg?.events.binary(attacker.seal(encodeOpen(1, '127.0.0.1', 22), 100));
  assert.match(ended[0] ?? '', /^forged: T-14/);
  assert.is(JSON.parse(leg?.texts.at(-1) ?? '{}').reason, 'forged');
  assert.equal([connected, tunnels.size], [[], 0]);
});

test('a device takes tunnels up to its limit, and the agent none unless configured to', async () => {
  const { tunnels, open } = makeTunnels([22], 1);
  await open();
  assert.match(await rejection(open({ tunnel: 'tun-2', key: wrapped('tun-2') })), 'too many');
  tunnels.stop();
  assert.is(tunnels.size, 0);
  const config = { server: 'https://a' };
  assert.equal(checkAgentConfig(config).tunnels, { allow: [], max: 8 });
  const own = { ...config, tunnels: { allow: [22, 'db:5432'], max: 2 } };
  assert.equal(checkAgentConfig(own).tunnels, { allow: [22, 'db:5432'], max: 2 });
  assert.throws(
    () => checkAgentConfig({ ...config, tunnels: { allow: ['ssh'], most: 1, max: -1 } }),
    /tunnels\.most[\s\S]*tunnels\.max[\s\S]*tunnels\.allow\[0\]/,
  );
});

test.run();
