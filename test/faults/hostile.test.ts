import { createPrivateKey, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { connect } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { MemoryStore } from '../../device/index.ts';
import {
  encodeGatewayMessage,
  encodeOrderBody,
  LIMITS,
  orderBytes,
  tokenText,
} from '../../protocol/index.ts';
import type { TestDevice } from '../e2e/fleet.ts';
import { type Lab, withLab } from '../e2e/lab.ts';
import { Wire } from '../e2e/wire.ts';
import { enrolRequest } from '../enrolment.ts';
import { connectDevice, type Identity, makeIdentity, prove, RawDevice } from '../gateway/raw-device.ts';
import { makeResult } from '../results.ts';
import { waitFor } from '../wait.ts';

const HEALTHY = 40;
const { testLab } = withLab({ bus: 'memory', gatewayFlags: ['--handshake-timeout', '8s'] });

/** Runs `attack` so many times at once. */
function many<T>(times: number, attack: (n: number) => Promise<T>): Promise<T[]> {
  return Promise.all(Array.from({ length: times }, (_, n) => attack(n)));
}

async function gatewayUrl(lab: Lab): Promise<string> {
  const [gateway] = (await lab.operator.gateways()).items;
  return `${gateway?.address}/`;
}

/** Not one of the healthy: a device whose key an attacker has. */
async function stolenIdentity(lab: Lab): Promise<Identity> {
  const [device] = (await lab.enrolled(1)) as [TestDevice];
  const { key } = (await (device.store as MemoryStore).load()).state;
  if (!key) throw new Error('no key');
  const seed = Buffer.from(key.privateKey).subarray(-32).toString('base64url');
  const x = Buffer.from(key.publicKey).toString('base64url');
  const privateKey = createPrivateKey({ key: { kty: 'OKP', crv: 'Ed25519', d: seed, x }, format: 'jwk' });
  return { id: device.id, privateKey, publicKey: key.publicKey };
}

/** Attacks over WebSockets and the close codes they are answered with. */
function socketAttacks(url: string, stolen: Identity): Record<string, () => Promise<unknown>> {
  const closing = async (device: RawDevice) => (await device.closed()).code;
  const inHandshake = (send: (device: RawDevice) => void) => async () => {
    const device = new RawDevice(url);
    await device.take('challenge');
    send(device);
    return closing(device);
  };
  return {
    'noise: 4400': inHandshake((device) =>
      device.sendBytes(randomBytes(1 + Math.floor(Math.random() * 300))),
    ),
    'text: 4400': inHandshake((device) => device.sendText('{"t":"prove"}')),
    'oversized: 1006': inHandshake((device) => device.sendBytes(new Uint8Array(LIMITS.frameBytes + 1))),
    'other words first: 4400': inHandshake((device) => device.send({ t: 'ack', id: 'x' })),
    'silence: 4202': inHandshake(() => {}),
    'unknown device: 4402': async () => {
      const device = new RawDevice(url);
      await prove(device, makeIdentity('nobody'));
      return closing(device);
    },
    'bad signature: 4403': async () => {
      const device = new RawDevice(url);
      await prove(device, { ...makeIdentity(stolen.id), id: stolen.id });
      return closing(device);
    },
    'replayed challenge: 4403': async () => {
      const [first, second] = [new RawDevice(url), new RawDevice(url)];
      const { nonce } = await first.take('challenge');
      await prove(second, stolen, { nonce });
      first.socket.terminate();
      return closing(second);
    },
    'a proof for another gateway: 4403': async () => {
      const device = new RawDevice(url);
      await prove(device, stolen, { gateway: 'gw2' });
      return closing(device);
    },
  };
}

/**
 * A connection that sends its request a byte at a time and never ends it; until the server has had enough, or
 * `signal`.
 */
function slowLoris(url: string, signal: AbortSignal): Promise<void> {
  const { port } = new URL(url);
  return new Promise((resolve) => {
    const socket = connect(Number(port), '127.0.0.1', () => socket.write('GET / HTTP/1.1\r\nX-A: '));
    const timer = setInterval(() => socket.write('a'), 200);
    socket.on('error', () => {
      // Cut off by the server: 'close' follows.
    });
    socket.once('close', () => {
      clearInterval(timer);
      resolve();
    });
    signal.addEventListener('abort', () => socket.destroy());
  });
}

async function answerOf(
  lab: Lab,
  path: string,
  init: RequestInit & { token?: string } = {},
): Promise<string> {
  const response = await fetch(lab.deployment.server + path, {
    ...init,
    headers: {
      'content-type': 'application/json',
      authorization: `Bearer ${init.token ?? lab.deployment.token}`,
      ...init.headers,
    },
  });
  const problem = (await response.json()) as { code: string; status: number };
  assert.match(response.headers.get('content-type') ?? '', /^application\/problem\+json/, path);
  assert.is(problem.status, response.status, path);
  return `${response.status} ${problem.code}`;
}

function httpAttacks(lab: Lab): Record<string, () => Promise<string>> {
  const post = (path: string, body: unknown) => () =>
    answerOf(lab, path, { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body) });
  const all = { all: true };
  return {
    '401 unauthorized': () => answerOf(lab, '/v1/devices', { token: `ppt_${'x'.repeat(32)}` }),
    '400 bad-request': post('/v1/commands', '{"type": "sync", '),
    '413 too-large': post('/v1/commands', {
      type: 'message',
      args: { topic: 'x'.repeat(2_000_000) },
      target: all,
    }),
    '422 unknown-reference': post('/v1/commands', { type: 'sync', target: { devices: ['no-such-device'] } }),
    '422 past-expiry': post('/v1/commands', { type: 'sync', target: all, expiresAt: '2001-01-01T00:00:00Z' }),
    '404 not-found': () => answerOf(lab, '/v1/commands/c00000000000000000000'),
  };
}

testLab(
  'a storm of everything hostile is answered as the protocol says, and a fleet beside it feels nothing',
  async (lab) => {
    const url = await gatewayUrl(lab);
    const stolen = await stolenIdentity(lab);
    const fleet = await lab.fleet(HEALTHY);
    const over = new AbortController();
    setMaxListeners(0, over.signal);
    const slow = many(50, () => slowLoris(url, over.signal));
    const storm = [
      ...Object.entries(socketAttacks(url, stolen)).map(async ([name, attack]) => {
        const expected = Number(name.split(': ')[1]);
        for (const code of await many(25, attack)) assert.is(code, expected, name);
      }),
      ...Object.entries(httpAttacks(lab)).map(async ([expected, attack]) => {
        for (const answer of await many(20, attack)) assert.is(answer, expected);
      }),
    ];
    let raging = true;
    const ended = Promise.all(storm).finally(() => {
      raging = false;
    });
    let syncs = 0;
    while (raging) {
      const { id } = await lab.operator.send('sync', fleet);
      assert.is((await lab.operator.finished(id)).counts.succeeded, HEALTHY);
      syncs++;
    }
    await ended;
    over.abort();
    await slow;
    assert.ok(syncs > 0);
    assert.equal(
      fleet.flatMap(({ closings }) => closings),
      [],
    );
    assert.ok(lab.deployment.running('admin'));
    for (const path of ['/live', '/ready'])
      assert.is((await fetch(lab.deployment.server + path)).status, 200);
  },
);

testLab(
  'a device that turns hostile in the middle of its session loses the session, and nothing of others',
  async (lab) => {
    const url = await gatewayUrl(lab);
    const fleet = await lab.fleet(5);
    const turns: ((device: RawDevice) => void)[] = [
      (device) => device.sendBytes(randomBytes(200)),
      (device) => device.sendBytes(new Uint8Array(LIMITS.frameBytes + 1)),
      (device) => {
        for (let n = 0; n < 1_000; n++) device.send({ t: 'beat' });
      },
      (device) => {
        for (let n = 0; n < 150; n++) device.send(makeResult({ id: 'd' }, `made-up-${n}`));
        device.sendText('and goodbye');
      },
    ];
    for (const turn of turns) {
      const { device } = await connectDevice(url, await stolenIdentity(lab), { membership: [0, 0] });
      turn(device);
      await device.closed();
    }
    const { id } = await lab.operator.send('sync', fleet);
    assert.is((await lab.operator.finished(id)).counts.succeeded, 5);
    assert.equal(
      fleet.flatMap(({ closings }) => closings),
      [],
    );
  },
);

testLab(
  'S-2: an order signed by another key is dropped, is not run, and leaves the session open',
  async (lab) => {
    const wire = new Wire();
    const device = await lab.device({ wire });
    const { privateKey } = generateKeyPairSync('ed25519');
    const body = encodeOrderBody({
      kind: 'command',
      id: 'c-forged',
      type: 'task.start',
      args: { task: 'backup' },
      target: { device: device.id },
      issuedAt: Date.now(),
      expiresAt: Date.now() + 60_000,
      timeoutMs: 60_000,
    });
    const sig = new Uint8Array(sign(null, orderBytes(body), privateKey));
    wire.bring(encodeGatewayMessage({ t: 'order', body, sig }));
    await waitFor(() => device.refusals.length > 0, { what: 'the order to be refused' });
    assert.equal(device.refusals, ['bad signature']);
    const { id } = await lab.operator.send('task.start', [device]);
    await lab.operator.reaches(id, device, 'succeeded');
    assert.is(device.started('c-forged'), 0);
    assert.equal(device.closings, []);
  },
);

testLab(
  'guessing at enrolment tokens is answered with 401, and soon with 429 and when to ask again',
  async (lab) => {
    const seed = randomBytes(32);
    const body = async () => {
      const token = tokenText('pp1', { id: `e${randomBytes(8).toString('hex')}`, seed, fingerprint: seed });
      return (await enrolRequest(token, makeIdentity(''))).json;
    };
    const statuses = await many(80, async () => {
      const response = await fetch(`${lab.deployment.server}/v1/enroll`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(await body()),
      });
      await response.arrayBuffer();
      if (response.status === 429) assert.ok(Number(response.headers.get('retry-after')) > 0);
      return response.status;
    });
    assert.ok(statuses.every((status) => status === 401 || status === 429));
    assert.ok(statuses.includes(401) && statuses.includes(429), `${new Set(statuses)}`);
  },
);

test.run();
