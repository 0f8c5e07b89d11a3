// time limit: 240 s
/** Tunnels through a carrier that reads and changes them, and tunnels that an attacker lets itself into. */
import { randomBytes } from 'node:crypto';
import { createServer, type Socket } from 'node:net';
import { Redis } from 'ioredis';
import pino from 'pino';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { encode } from '../../bus/encoding.ts';
import { keysWith } from '../../bus/redis/keys.ts';
import { RedisBus } from '../../bus/redis/redis-bus.ts';
import { tcpConnect } from '../../device/index.ts';
import { encodeHello, encodeOpen, sealCounter, TUNNEL_LIMITS } from '../../protocol/index.ts';
import type { TunnelStream } from '../../tunnel/index.ts';
import { startRedis } from '../services/redis.ts';
import { pattern } from '../tunnel/pair.ts';
import { SealingEnd } from '../tunnel/sealing.ts';
import { waitFor } from '../wait.ts';
import { CarrierProxy, type Meddling, type Way } from './carrier-proxy.ts';
import { type Rig, withRig } from './rig.ts';
import { type End, granted, type KeyedTicket, makeEnd, makeGrant, RawLeg } from './tunnel-rig.ts';

/** What passes, so that it is easy to find. */
const CANARY = Buffer.from('a canary in plain text, ');
/** More than one frame, and less than a window. */
const PIECE = 100_000;

interface Carried {
  proxy: CarrierProxy;
  operator: End;
  device: End;
  /** The tunnel's key, which no carrier has. */
  key: Uint8Array;
  /** At the operator's end. */
  stream: TunnelStream;
  /** What came out of each end. */
  out: Record<Way, Buffer[]>;
}

/** A tunnel whose operator's leg passes a carrier; the device's end sends back what it gets. */
async function withCarrier(rig: Rig, body: (carried: Carried) => Promise<void>): Promise<void> {
  const proxy = await CarrierProxy.start(rig.url);
  const made = await granted(rig);
  const out: Carried['out'] = { down: [], up: [] };
  const device = makeEnd('device', made.device, {
    accept: () => (stream) => {
      stream.accepted();
      return {
        data: (bytes) => {
          out.down.push(Buffer.from(bytes));
          stream.write(bytes);
          stream.consumed(bytes.length);
        },
        end: () => stream.end(),
        writable: () => {},
        closed: () => {},
      };
    },
  });
  const operator = makeEnd('operator', { ...made.operator, gateway: { name: 'gw1', url: proxy.url } });
  try {
    await Promise.all([device.tunnel.start(), operator.tunnel.start()]);
    const stream = operator.tunnel.open({ host: '127.0.0.1', port: 22 }, (own) => ({
      data: (bytes) => {
        out.up.push(Buffer.from(bytes));
        own.consumed(bytes.length);
      },
      end: () => {},
      writable: () => {},
      closed: () => {},
    }));
    await body({ proxy, operator, device, key: made.operator.key, stream, out });
  } finally {
    operator.tunnel.close();
    device.tunnel.close();
    proxy.stop();
  }
}

const all = (pieces: readonly Buffer[]) => Buffer.concat(pieces);

test('T-14: a carrier that reads every message finds nothing of what passes', async () => {
  await withRig({}, async (rig) => {
    await withCarrier(rig, async ({ proxy, stream, out }) => {
      const sent = Buffer.alloc(3 * PIECE, CANARY);
      stream.write(sent);
      await waitFor(() => all(out.up).length === sent.length, { what: 'all of it to come back' });
      assert.ok(all(out.down).equals(sent) && all(out.up).equals(sent));
      for (const way of ['down', 'up'] as const) {
        const read = all(proxy.seen[way]);
        assert.ok(read.length > sent.length);
        assert.not.ok(read.includes(CANARY.subarray(0, 8)), way);
        assert.not.ok(read.includes('127.0.0.1'), `host of an OPEN, ${way}`);
      }
    });
  });
});

function flipped(message: Buffer, at: number): Buffer {
  const other = Buffer.from(message);
  other[at] = (other[at] as number) ^ 0x40;
  return other;
}

/** Each is told the messages of one way, and what it could have kept of both. */
const MEDDLING: [what: string, make: (carried: Carried, way: Way) => Meddling][] = [
  ['a bit of the content', () => (message) => [flipped(message, message.length >> 1)]],
  ['a bit of the counter', () => (message) => [flipped(message, 5)]],
  ['a bit of the tag', () => (message) => [flipped(message, message.length - 1)]],
  ['cut', () => (message) => [message.subarray(0, -1)]],
  ['longer', () => (message) => [Buffer.concat([message, Buffer.alloc(1)])]],
  ['empty', () => () => [Buffer.alloc(0)]],
  ['twice', () => (message) => [message, message]],
  [
    'an earlier one again',
    ({ proxy }, way) =>
      (message) => [message, proxy.seen[way][0] as Buffer],
  ],
  [
    'in another order',
    () => {
      let kept: Buffer | null = null;
      return (message) => {
        if (kept === null) {
          kept = message;
          return [];
        }
        const both = [message, kept];
        kept = null;
        return both;
      };
    },
  ],
  [
    'sent back',
    ({ proxy }, way) =>
      () =>
        proxy.seen[way === 'down' ? 'up' : 'down'].slice(-1),
  ],
  [
    'with another key',
    (_, way) => {
      const end = new SealingEnd(randomBytes(32), way === 'down' ? 'operator' : 'device');
      return (message) => [Buffer.from(end.seal(message.subarray(8, -16), sealCounter(message)))];
    },
  ],
  ['not sealed', () => () => [Buffer.from(encodeOpen(2, '127.0.0.1', 22))]],
];

test('T-14: whatever a carrier changes ends the tunnel, and nothing of it comes out', async () => {
  await withRig({}, async (rig) => {
    const ended = new Map<string, number>();
    for (const way of ['down', 'up'] as const) {
      for (const [what, make] of MEDDLING) {
        await withCarrier(rig, async (carried) => {
          const { proxy, stream, out } = carried;
          const sent = pattern(PIECE, 1);
          stream.write(sent);
          await waitFor(() => all(out.up).length === PIECE, { what: 'the first piece' });
          const meddle = make(carried, way);
          proxy.meddle = (message, where) => (where === way ? meddle(message, where) : [message]);
          const more = pattern(2 * PIECE, 2);
          stream.write(more);
          const victim = way === 'down' ? carried.device : carried.operator;
          await waitFor(() => victim.ended.length > 0, { what: `the end after: ${what}, ${way}` });
          // A later frame is the first to be missed when it comes too early.
          const reason = what === 'in another order' ? /^(forged: T-14|protocol: T-8)/ : /^forged: T-14/;
          assert.match(victim.ended[0] ?? '', reason, `${what}, ${way}`);
          const right = Buffer.concat([sent, more]);
          for (const each of ['down', 'up'] as const) {
            const got = all(out[each]);
            assert.ok(
              got.equals(right.subarray(0, got.length)),
              `${what}, ${way}: ${each} is as it was sent`,
            );
          }
          // The gateway itself is honest here, so it hears why.
          const [code = ''] = (victim.ended[0] ?? '').split(':');
          ended.set(code, (ended.get(code) ?? 0) + 1);
          await waitFor(async () => (await rig.metric('tunnels_ended_total', code)) === ended.get(code), {
            what: `the end to be counted: ${what}, ${way}`,
          });
        });
      }
    }
  });
});

test('T-8, T-14: a carrier that drops a frame of a stream leaves no gap in what comes out', async () => {
  await withRig({}, async (rig) => {
    await withCarrier(rig, async ({ proxy, device, stream, out }) => {
      let count = 0;
      proxy.meddle = (message, way) => (way === 'down' && ++count === 2 ? [] : [message]);
      const sent = pattern(4 * PIECE);
      stream.write(sent);
      await waitFor(() => device.ended.length > 0, { what: 'the device to notice' });
      assert.match(device.ended[0] ?? '', /^protocol: T-8/);
      const got = all(out.down);
      assert.ok(got.length < sent.length && got.equals(sent.subarray(0, got.length)));
    });
  });
});

/** A port of the device, and how often somebody reached it. */
async function startTarget() {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => {
      // Of a tunnel that ends.
    });
    socket.pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  return {
    port,
    reached: () => sockets.length,
    stop: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

/** Joins as the operator, once the worker has read of this ticket. */
async function letIn(rig: Rig, ticket: KeyedTicket): Promise<RawLeg> {
  return waitFor(
    async () => {
      const leg = await new RawLeg(rig.url).open();
      leg.join('operator', ticket);
      const answer = () => leg.texts.find(({ t }) => t === 'joined' || t === 'refused');
      const { t } = await waitFor(answer, { what: 'an answer' });
      return t === 'joined' && leg;
    },
    { what: 'the intruder to be let in' },
  );
}

/** An operator that is not: with a ticket of its own, and what it sends. */
const INTRUDERS: [what: string, seal: (frame: Uint8Array, own: SealingEnd) => Uint8Array][] = [
  ['without sealing', (frame) => frame],
  ['with a key of its own', (frame, own) => own.seal(frame)],
];

test('T-15: who puts its own ticket into Redis joins the tunnel, and does not reach the port', async () => {
  const service = await startRedis();
  const redis = new Redis(service.url);
  const target = await startTarget();
  const keys = keysWith('pp', false);
  try {
    const ownBus = new RedisBus({ url: service.url, log: pino({ level: 'silent' }) });
    await withRig({ ownBus }, async (rig) => {
      const { port } = target;
      for (const [what, seal] of INTRUDERS) {
        const made = await granted(rig, { port });
        const device = makeEnd('device', made.device, { accept: tcpConnect });
        await device.tunnel.start();
        // The same grant again, with the hash of the attacker's ticket.
        const own = makeGrant(rig.url);
        const grant = { ...made.grant, operatorHash: own.grant.operatorHash };
        const incarnation = await rig.incarnation();
        await redis.xadd(
          keys.outbox(incarnation),
          '*',
          'd',
          Buffer.from(encode({ devices: [], tunnel: grant })),
        );
        await redis.publish(keys.outboxHint(incarnation), '');
        const leg = await letIn(rig, { ...own.operator, tunnel: made.grant.id });
        const { pair } = await leg.take('peer');
        const end = new SealingEnd(own.operator.key, 'operator');
        const hello = encodeHello({ pair, window: TUNNEL_LIMITS.streamWindow, highest: 1, streams: [] });
        for (const frame of [hello, encodeOpen(1, '127.0.0.1', port)]) leg.socket.send(seal(frame, end));
        await waitFor(() => device.ended.length > 0, { what: `the device to end it: ${what}` });
        assert.match(device.ended[0] ?? '', /^forged: T-14/, what);
        assert.is(target.reached(), 0);
        leg.close();
      }
      // The same way leads there with the key.
      const made = await granted(rig, { port });
      const device = makeEnd('device', made.device, { accept: tcpConnect });
      const operator = makeEnd('operator', made.operator);
      await Promise.all([device.tunnel.start(), operator.tunnel.start()]);
      const nothing = () => {};
      const handlers = { data: nothing, end: nothing, writable: nothing, closed: nothing };
      operator.tunnel.open({ host: '127.0.0.1', port }, handlers);
      await waitFor(() => target.reached() === 1, { what: 'the honest operator to reach it' });
      operator.tunnel.close();
      device.tunnel.close();
    });
  } finally {
    target.stop();
    redis.disconnect();
    await service.stop();
  }
});

test.run();
