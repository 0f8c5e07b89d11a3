/** What strangers try, each with how to tell that the limit meant for it was reached. */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import pino from 'pino';
import type { Receipt } from '../../bus/bus.ts';
import { RedisBus } from '../../bus/redis/redis-bus.ts';
import { IdentityFiles } from '../../gateway/joining/identity-files.ts';
import { encodeDeviceMessage, LIMITS } from '../../protocol/index.ts';
import { enrolByHand, type HandMade } from '../e2e/enrol-by-hand.ts';
import { connectDevice, makeIdentity, prove, RawDevice } from '../gateway/raw-device.ts';
import { BODIES, bodyRequests, EMPTY, KINDS } from '../gateway/request-bodies.ts';
import { makeResult } from '../results.ts';
import { again, ask, keepOpen, leg, tcp, webSocket } from './strangers.ts';
import type { World } from './world.ts';

export interface Attack {
  name: string;
  title: string;
  /** Goes on until `signal`. */
  play(world: World, signal: AbortSignal): Promise<void>;
  /** The limit was reached: without this the attack shows nothing. Asked again and again. */
  bites(world: World): Promise<boolean>;
}

const SOCKETS = 250;
const UPGRADE =
  'GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n' +
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: pushpoint.v1\r\n\r\n';

/** Remembers how a figure was at the first look: it has to grow. */
function grows(read: (world: World) => Promise<number>, by = 1): Attack['bites'] {
  let first: number | undefined;
  return async (world) => {
    const now = await read(world);
    first ??= now;
    return now >= first + by;
  };
}

const cuts = (world: World) => world.gateway('unauthenticated_sockets_closed_total');
const closed = (code: string) => (world: World) =>
  world.gateway('connections_closed_total', `code="${code}"`);

function sockets(
  name: string,
  title: string,
  open: (url: string) => ReturnType<typeof tcp> | ReturnType<typeof leg>,
): Attack {
  return {
    name,
    title,
    play: async ({ gatewayUrl }, signal) => keepOpen(SOCKETS, () => open(gatewayUrl), signal),
    bites: grows(cuts, SOCKETS),
  };
}

/** A WebSocket that does `then` once the challenge came. */
function inHandshake(url: string, then: (socket: ReturnType<typeof webSocket>) => void) {
  const socket = webSocket(url);
  return socket.once('message', () => then(socket));
}

/** The status that strangers' requests are answered with, counted. */
function requests(
  name: string,
  title: string,
  wish: (world: World) => Promise<{ status: number }>,
  expected: readonly number[],
  also: number,
): Attack {
  const seen = new Map<number, number>();
  return {
    name,
    title,
    async play(world, signal) {
      const once = async () => {
        const { status } = await wish(world);
        seen.set(status, (seen.get(status) ?? 0) + 1);
      };
      await again(8, once, signal);
      const others = [...seen.keys()].filter((status) => !expected.includes(status));
      if (others.length > 0) throw new Error(`answered with ${others}, not ${expected}`);
    },
    bites: async () => (seen.get(also) ?? 0) >= 20,
  };
}

let bodiesClosed = 0;
const nested = '['.repeat(100_000) + ']'.repeat(100_000);

/** A device that enrolled as it should, and whose key somebody has. */
async function hostileDevice(world: World): Promise<HandMade> {
  const token = await world.lab.operator.enrolmentToken('all', 1);
  return enrolByHand(world.server, token, { name: 'a\u001b]0;owned\u0007' });
}

const longResults: Attack = {
  name: 'long-results',
  title: 'a device returns 32 kB again and again for commands that do not exist',
  async play(world, signal) {
    const identity = await hostileDevice(world);
    const { device } = await connectDevice(world.gatewayUrl, identity, { membership: [1, 1] });
    const data = new Uint8Array(LIMITS.resultBytes - 64);
    for (let n = 0; !signal.aborted; n++) {
      device.send(makeResult(identity, `made-up-${n}`, { state: 'succeeded', data }));
      await new Promise((resolve) => setTimeout(resolve, 15));
    }
    const kept = device.received.some(({ t }) => t === 'keep');
    const settled = device.received.some((it) => it.t === 'settled' && it.state === 'unknown');
    device.socket.terminate();
    if (!kept || !settled) throw new Error(`kept: ${kept}, told that they are unknown: ${settled}`);
  },
  bites: grows((world) => world.gateway('results_handed_back_total'), 20),
};

const tooFast: Attack = {
  name: 'too-fast',
  title: 'a device sends as fast as it can',
  async play(world, signal) {
    const identity = await hostileDevice(world);
    const beat = encodeDeviceMessage({ t: 'beat' });
    while (!signal.aborted) {
      const { device } = await connectDevice(world.gatewayUrl, identity, { membership: [1, 1] });
      while (device.closing === null && !signal.aborted) {
        for (let n = 0; n < 100; n++) device.sendBytes(beat);
        await new Promise(setImmediate);
      }
      device.socket.terminate();
    }
  },
  bites: grows(closed('tooFast')),
};

const wrongReceipts: Attack = {
  name: 'wrong-receipts',
  title: 'a stolen gateway writes into Redis what no gateway says',
  async play(world, signal) {
    const { deployment } = world.lab;
    const identity = new IdentityFiles(deployment.identityFolder('gw1')).read();
    if (!identity) throw new Error('gw1 has not joined');
    const bus = new RedisBus({
      url: deployment.redis.url,
      log: pino({ level: 'silent' }),
      credentials: () => identity,
    });
    await bus.start();
    const wrong = [
      null,
      7,
      { kind: 'nonsense' },
      { kind: 'ack', device: {} },
      { kind: 'connected', device: 'd1', session: -1 },
    ];
    while (!signal.aborted) {
      await bus.receipts.append(wrong as unknown as Receipt[]);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    await bus.stop();
  },
  bites: grows((world) => world.admin('receipts_put_aside_total'), 10),
};

let printed = '';
const escapes: Attack = {
  name: 'escapes',
  title: 'a device says escape sequences, and the operator asks why',
  async play(world, signal) {
    const identity = await hostileDevice(world);
    const { device } = await connectDevice(world.gatewayUrl, identity, { membership: [1, 1] });
    const { id } = await world.lab.operator.api.request<{ id: string }>('POST', '/v1/commands', {
      body: { type: 'sync', target: { devices: [identity.id] } },
    });
    const reason = 'owned\u001b]52;c;cm0=\u0007\u009b2J\u001b[1A';
    device.send(makeResult(identity, id, { state: 'failed', reason }));
    const env = {
      ...process.env,
      PUSHPOINT_SERVER: world.server,
      PUSHPOINT_TOKEN: world.lab.deployment.token,
    };
    while (!signal.aborted) {
      const { stdout } = await promisify(execFile)(
        process.execPath,
        [new URL('../../cli/main.js', import.meta.url).pathname, 'devices', 'why', identity.id, id],
        { env },
      );
      printed += stdout;
    }
    device.socket.terminate();
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
    if (/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/.test(printed)) throw new Error(JSON.stringify(printed));
  },
  bites: async () => printed.includes('owned'),
};

export const ATTACKS: readonly Attack[] = [
  sockets('silent-tcp', 'connections that never say anything', (url) => tcp(url)),
  sockets('half-requests', 'requests that never end', (url) => tcp(url, 'GET / HTTP/1.1\r\nX-A: ')),
  sockets('silent-legs', 'WebSockets of tunnels that never join', (url) => leg(url)),
  sockets('silent-devices', 'WebSockets that never prove anything', (url) => webSocket(url)),
  sockets('halves-that-stay', 'connections that break the protocol and do not close', (url) =>
    tcp(url, `${UPGRADE}\u0082\u0081\u0000\u0000\u0000\u0000\u00c1`).on('data', () => {}),
  ),
  {
    name: 'probes',
    title: 'probes without end on many connections, and WebSockets from the same addresses',
    async play({ gatewayUrl }, signal) {
      const probe = 'GET /probe HTTP/1.1\r\nHost: x\r\n\r\n';
      let opened = 0;
      const open = () => {
        if (opened++ % 4 === 0) return webSocket(gatewayUrl);
        const socket = tcp(gatewayUrl, probe);
        return socket.on('data', () => socket.write(probe));
      };
      keepOpen(50, open, signal);
    },
    bites: grows((world) => world.gateway('upgrades_refused_total', 'reason="rate"'), 50),
  },
  {
    name: 'bodies',
    title: 'requests that say that a body follows, of all kinds and in pieces',
    async play({ gatewayUrl }, signal) {
      const requests = bodyRequests(KINDS, [...BODIES, EMPTY]);
      let next = 0;
      const open = () => {
        const text = requests[next++ % requests.length] ?? '';
        const cut = next % 2 === 0 ? text.length : 30;
        const socket = tcp(gatewayUrl, text.slice(0, cut));
        setTimeout(() => socket.write(text.slice(cut)), 5);
        return socket.on('data', () => {}).on('close', () => bodiesClosed++);
      };
      keepOpen(60, open, signal);
    },
    // Enough to last beyond the time limit of strangers, when what was not forgotten would be closed once
    // more.
    bites: grows(async () => bodiesClosed, 5_000),
  },
  {
    name: 'garbage',
    title: 'noise in place of a proof',
    play: async ({ gatewayUrl }, signal) =>
      keepOpen(20, () => inHandshake(gatewayUrl, (socket) => socket.send(randomBytes(64))), signal),
    bites: grows(closed('protocolError'), 20),
  },
  {
    name: 'nobodies',
    title: 'proofs of devices that do not exist',
    play: async ({ gatewayUrl }, signal) => {
      await again(
        10,
        async () => {
          const device = new RawDevice(gatewayUrl);
          await prove(device, makeIdentity(`nobody-${randomBytes(4).toString('hex')}`)).catch(
            () => undefined,
          );
          await device.closed().catch(() => undefined);
        },
        signal,
      );
    },
    bites: grows(closed('unknownDevice'), 20),
  },
  {
    name: 'wrong-tickets',
    title: 'legs with tickets that nobody gave out',
    play: async ({ gatewayUrl }, signal) => {
      const ticket = randomBytes(32).toString('base64url');
      const join = JSON.stringify({ t: 'join', tunnel: 'u1', worker: 0, side: 'operator', ticket });
      const open = () => {
        const socket = leg(gatewayUrl);
        return socket.on('open', () => socket.send(join));
      };
      keepOpen(40, open, signal);
    },
    bites: grows((world) => world.gateway('tunnel_legs_refused_total'), 20),
  },
  {
    name: 'silent-api',
    title: 'connections to the HTTP API that never ask for anything',
    play: async ({ server }, signal) => keepOpen(1_500, () => tcp(server), signal),
    bites: grows((world) => world.admin('unauthenticated_connections_closed_total'), SOCKETS),
  },
  requests(
    'enrolments',
    'enrolments a megabyte long, and nested',
    ({ server }) =>
      ask(`${server}/v1/enroll`, 'POST', Math.random() < 0.5 ? 'x'.repeat(1_000_000) : '['.repeat(5_000)),
    // 0: the connection is cut while the body is still being sent.
    [0, 400, 413, 429],
    429,
  ),
  requests(
    'nested-wishes',
    'an operator whose token was stolen sends what is nested without end',
    ({ server, lab }) =>
      ask(`${server}/v1/tunnels`, 'POST', `{"deviceId":${nested},"port":22}`, lab.deployment.token),
    [400],
    400,
  ),
  requests(
    'nowhere',
    'long requests to nowhere',
    ({ server }) => ask(`${server}/v1/nowhere`, 'POST', nested),
    [0, 404],
    404,
  ),
  longResults,
  tooFast,
  wrongReceipts,
  escapes,
];
