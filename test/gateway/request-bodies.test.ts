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
import { waitFor } from '../wait.ts';
import { connectDevice } from './raw-device.ts';
import { bodyRequests, KINDS } from './request-bodies.ts';
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
    accepted.answer(res, () => {
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

test('hundreds of requests with bodies close no device, now or when their time would be over', () =>
  withRig({ config: CONFIG }, async (rig) => {
    const devices = [];
    for (let n = 0; n < 5; n++) devices.push((await connectDevice(rig.url, await rig.enrol())).device);
    const requests = bodyRequests(KINDS);
    for (let round = 0; round < 12; round++) {
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
