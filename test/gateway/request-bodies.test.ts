/**
 * Requests that say that a body follows: uWebSockets.js runs their handler first, and judges the body
 * afterwards.
 */

import uWS from 'uWebSockets.js';
import { connect, type Socket } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AddressList } from '../../bus/addresses.ts';
import { UnauthenticatedSockets } from '../../bus/unauthenticated-sockets.ts';
import { AcceptedSockets } from '../../gateway/listen/accepted-sockets.ts';
import { SUBPROTOCOL, TUNNEL_SUBPROTOCOL } from '../../protocol/index.ts';
import { waitFor } from '../wait.ts';
import { connectDevice } from './raw-device.ts';
import { BODIES, bodyRequests, EMPTY, KINDS } from './request-bodies.ts';
import { type Rig, withRig } from './rig.ts';

/** Said in one write, or in pieces; resolves when the gateway has closed it, which all of these come to. */
function say(
  { worker: { port } }: { worker: { port: number } },
  text: string,
  localAddress: string,
  cuts: readonly number[] = [],
): Promise<void> {
  const socket = connect({ port, host: '127.0.0.1', localAddress, noDelay: true });
  socket.on('error', () => {}).resume();
  socket.on('connect', async () => {
    let from = 0;
    for (const to of [...cuts, text.length]) {
      socket.write(text.slice(from, to));
      from = to;
      // Else the kernel may hand over both pieces as one.
      if (to < text.length) await new Promise((resolve) => setTimeout(resolve, 5));
    }
  });
  return new Promise((resolve) => void socket.once('close', () => resolve()));
}

/** As the path of a request asks for it. */
function subprotocolOf(text: string): string {
  return text.startsWith('GET /tunnel') ? TUNNEL_SUBPROTOCOL : SUBPROTOCOL;
}

function silent(rig: Rig, localAddress: string): Socket {
  return connect({ port: rig.worker.port, host: '127.0.0.1', localAddress }).on('error', () => {});
}

/** The bound works, and no handler threw. */
async function stillBounded(rig: Rig): Promise<void> {
  await waitFor(async () => (await rig.metric('unauthenticated_sockets')) === 0, {
    what: 'all strangers to be gone',
  });
  assert.is(await rig.metric('faults_total'), 0);
  assert.not.ok(
    rig.log.some(({ msg, err }) => /limits on strangers are weaker/.test(`${msg} ${JSON.stringify(err)}`)),
  );
  const cut = await rig.metric('unauthenticated_sockets_closed_total', 'address');
  const sockets = Array.from({ length: 14 }, () => silent(rig, '127.0.13.1'));
  await waitFor(
    async () => (await rig.metric('unauthenticated_sockets_closed_total', 'address')) === cut + 4,
  );
  assert.is(await rig.metric('unauthenticated_sockets'), 10);
  for (const socket of sockets) socket.destroy();
}

const CONFIG = { maxUnauthenticated: 40, handshakeTimeoutMs: 1_000, upgradesPerSecond: 1_000_000 };

for (const kind of KINDS) {
  test(`G-5: a body after ${kind.name}: the socket is closed at once and forgotten, whole or in pieces`, () =>
    withRig({ config: { ...CONFIG, handshakeTimeoutMs: 60_000 } }, async (rig) => {
      await Promise.all(
        bodyRequests([kind]).flatMap((text, n) => {
          const cuts = [[], [30], [text.indexOf('\r\n\r\n') + 2]];
          return cuts.map((at) => say(rig, text, `127.0.${20 + n}.1`, at));
        }),
      );
      await stillBounded(rig);
    }));
}

/** Writes `text` in pieces on `socket`; resolves with the status of the answer, `null` if there is none. */
async function statusOf(socket: Socket, text: string, cuts: readonly number[]): Promise<string | null> {
  socket.setNoDelay();
  const answered = new Promise<string | null>((resolve) => {
    socket.once('data', (bytes) => resolve(/^HTTP\/1.1 (\d+)/.exec(bytes.toString())?.[1] ?? null));
    socket.once('close', () => resolve(null));
  });
  let from = 0;
  for (const to of [...cuts, text.length]) {
    socket.write(text.slice(from, to));
    from = to;
    // Else the kernel may hand over both pieces as one.
    if (to < text.length) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return answered;
}

const EMPTY_REQUESTS = KINDS.map((kind) => bodyRequests([kind], [EMPTY])[0] as string);
const ANSWERS = ['204', '426', '101', '101', '426'];

test('G-5: a request with an empty body is answered like one without, whole or in pieces', () =>
  withRig({ config: CONFIG }, async (rig) => {
    for (const [n, text] of EMPTY_REQUESTS.entries()) {
      for (const [at, cuts] of [[], [30], [text.indexOf('\r\n\r\n') + 2]].entries()) {
        const socket = silent(rig, `127.0.${20 + n}.${1 + at}`);
        assert.is(
          await statusOf(socket, text.replace('pushpoint.v1', subprotocolOf(text)), cuts),
          ANSWERS[n],
        );
        if (ANSWERS[n] === '204') {
          for (let again = 0; again < 3; again++) assert.is(await statusOf(socket, text, cuts), '204');
        }
        socket.destroy();
      }
    }
    await stillBounded(rig);
  }));

test('G-5: with others of its address, it is answered if it comes whole, and closed in pieces', () =>
  withRig({ config: { ...CONFIG, handshakeTimeoutMs: 60_000 } }, async (rig) => {
    const [probe = ''] = EMPTY_REQUESTS;
    const others = Array.from({ length: 3 }, () => silent(rig, '127.0.20.1'));
    await waitFor(async () => (await rig.metric('unauthenticated_sockets')) === 3);
    const sockets = Array.from({ length: 4 }, () => silent(rig, '127.0.20.1'));
    assert.equal(await Promise.all(sockets.map((socket) => statusOf(socket, probe, []))), [
      ...['204', '204', '204', '204'],
    ]);
    // The kernel may hand over both pieces as one all the same.
    for (const status of await Promise.all(sockets.map((socket) => statusOf(socket, probe, [30])))) {
      assert.ok(status === null || status === '204', String(status));
    }
    assert.ok(others.every(({ readyState }) => readyState === 'open'));
    for (const socket of [...others, ...sockets]) socket.destroy();
    await stillBounded(rig);
  }));

test('a socket that closes between its request and its body is forgotten, as a second guard', async () => {
  const cuts: string[] = [];
  const faults: unknown[] = [];
  const unauthenticatedSockets = new UnauthenticatedSockets({
    bound: () => 100,
    perAddress: 100,
    shared: new AddressList(''),
    now: () => 0,
    limitTicks: 1,
    cuts: { add: (why) => void cuts.push(why) },
  });
  const accepted = new AcceptedSockets(unauthenticatedSockets, (error) => void faults.push(error));
  let accepts = 0;
  let answers = 0;
  const app = uWS.App();
  const changed = (res: uWS.HttpResponse, count: number) => {
    accepted.changed(res, count);
    if (count > 0) accepts++;
  };
  app.filter((res, count) => changed(res, Number(count)));
  app.any('/*', (res) => {
    accepted.answer(res, 'none', () => {
      answers++;
      res.cork(() => res.end('here', true));
    });
  });
  const port = await new Promise<number>((resolve) => {
    app.listen('127.0.0.1', 0, (token) => resolve(uWS.us_socket_local_port(token as uWS.us_listen_socket)));
  });
  const target = { worker: { port } };
  for (let n = 0; n < 20; n++) {
    for (const body of ['Content-Length: x\r\n\r\n', 'Transfer-Encoding: chunked\r\n\r\nzz\r\n']) {
      await say(target, `GET / HTTP/1.1\r\nHost: x\r\n${body}`, '127.0.9.1');
    }
  }
  await waitFor(() => unauthenticatedSockets.size === 0, { what: 'all to be forgotten' });
  await say(target, 'GET / HTTP/1.1\r\nHost: x\r\n\r\n', '127.0.9.1');
  app.close();
  assert.equal({ accepts, answers, cuts, faults }, { accepts: 41, answers: 1, cuts: [], faults: [] });
});

test('an upgrade that waits is served inside an open WebSocket, whoever has closed meanwhile', async () => {
  const unauthenticatedSockets = new UnauthenticatedSockets({
    bound: () => 2,
    perAddress: 2,
    shared: new AddressList('192.0.2.1'),
    now: () => 0,
    limitTicks: 1,
    cuts: { add: () => {} },
  });
  const accepted = new AcceptedSockets(unauthenticatedSockets, (error) => assert.unreachable(String(error)));
  const corked: string[] = [];
  const webSocket = (name: string) => ({
    cork: (run: () => void) => {
      corked.push(name);
      run();
    },
  });
  const [stays, leaves] = [webSocket('stays'), webSocket('leaves')];
  for (const each of [leaves, stays]) accepted.opened(each);
  const socket = () => {
    const own = { data: () => {}, getRemoteAddress: () => Uint8Array.of(192, 0, 2, 1).buffer };
    const onData = (run: () => void) => {
      own.data = run;
    };
    const none = () => {};
    return Object.assign(own, { onData, onAborted: none, close: none, ...webSocket('a socket') });
  };
  const [first, second] = [socket(), socket()];
  for (const each of [first, second]) accepted.changed(each, 1);
  const served = new Promise<void>((resolve) => {
    accepted.upgrade(second, 'none', { address: '192.0.2.1', prefix: '192.0.2' }, () => resolve());
  });
  second.data();
  accepted.closed(leaves);
  await served;
  assert.equal(corked, ['stays']);
});

test('hundreds of requests with bodies close no device, now or when their time would be over', () =>
  withRig({ config: CONFIG }, async (rig) => {
    const devices = [];
    for (let n = 0; n < 5; n++) devices.push((await connectDevice(rig.url, await rig.enrol())).device);
    for (let round = 0; round < 12; round++) {
      // An empty body closes nothing by itself: once is enough to wait for.
      const requests = bodyRequests(KINDS, round === 0 ? [...BODIES, EMPTY] : BODIES);
      const asking = requests.flatMap((text, n) => [
        say(rig, text, `127.0.9.${1 + (n % 3)}`),
        say(rig, text, `127.0.${20 + (n % 9)}.1`, [30 + n]),
      ]);
      devices.push((await connectDevice(rig.url, await rig.enrol())).device);
      await Promise.all(asking);
    }
    // Whoever is cut for being late was accepted after all of those: a sweep has come to their time as well.
    const late = await rig.metric('unauthenticated_sockets_closed_total', 'late');
    silent(rig, '127.0.14.1');
    await waitFor(async () => (await rig.metric('unauthenticated_sockets_closed_total', 'late')) > late);
    assert.equal(
      devices.map(({ closing }) => closing),
      devices.map(() => null),
    );
    await stillBounded(rig);
  }));

test.run();
