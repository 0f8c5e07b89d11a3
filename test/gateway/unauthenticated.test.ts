import { connect, type Socket } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WebSocket } from 'ws';
import { SUBPROTOCOL, TUNNEL_SUBPROTOCOL } from '../../protocol/index.ts';
import { waitFor } from '../wait.ts';
import { connectDevice, makeIdentity, prove, RawDevice } from './raw-device.ts';
import { type Rig, withRig } from './rig.ts';

/** The stranger's address; devices come from 127.0.0.1, another prefix. */
const STRANGER = '127.0.9.1';

function silentSocket(rig: Rig, localAddress = STRANGER): Socket {
  const socket = connect({ port: rig.worker.port, host: '127.0.0.1', localAddress });
  return socket.on('error', () => {});
}

function silentLeg(rig: Rig, localAddress = STRANGER): WebSocket {
  const leg = new WebSocket(`${rig.url}tunnel`, TUNNEL_SUBPROTOCOL, { localAddress });
  return leg.on('error', () => {});
}

/** Keeps `count` sockets open: for each that is closed another. Returns what ends it. */
function keepOpen(count: number, open: () => Socket | WebSocket): () => void {
  let over = false;
  const sockets = new Set<Socket | WebSocket>();
  const one = () => {
    if (over) return;
    const socket = open();
    sockets.add(socket);
    socket.on('close', () => {
      sockets.delete(socket);
      setImmediate(one);
    });
  };
  for (let n = 0; n < count; n++) one();
  return () => {
    over = true;
    for (const socket of sockets) {
      if ('destroy' in socket) socket.destroy();
      else socket.terminate();
    }
  };
}

/** Also of one that was reset because it went on writing. */
const closed = (socket: Socket | WebSocket) =>
  new Promise<[number]>((resolve) => void socket.once('close', (code: number) => resolve([code])));

test('H-8: the time of a stranger counts from accept on, whether it is silent, slow, probing or a leg', () =>
  withRig({ config: { handshakeTimeoutMs: 1_000 } }, async (rig) => {
    const silent = silentSocket(rig);
    const slow = silentSocket(rig, '127.0.10.1');
    slow.write('GET / HTTP/1.1\r\nX-A: ');
    const dripping = setInterval(() => slow.write('a'), 20);
    const probing = silentSocket(rig, '127.0.11.1');
    const asking = setInterval(() => probing.write('GET /probe HTTP/1.1\r\nHost: x\r\n\r\n'), 100);
    let answers = 0;
    probing.on('data', () => answers++);
    const leg = silentLeg(rig, '127.0.12.1');
    const device = new RawDevice(rig.url);
    await waitFor(async () => (await rig.metric('unauthenticated_sockets', 'leg')) === 1);
    await waitFor(async () => (await rig.metric('unauthenticated_sockets', 'handshake')) === 1);
    await waitFor(async () => (await rig.metric('unauthenticated_sockets', 'accepted')) === 3);
    const [[code], closing] = await Promise.all([
      closed(leg),
      device.closed(),
      closed(silent),
      closed(slow),
      closed(probing),
    ]);
    for (const timer of [dripping, asking]) clearInterval(timer);
    assert.is(code, 4253);
    assert.is(closing.code, 4202);
    assert.ok(answers > 2, `${answers} probes answered on one connection`);
    assert.is(await rig.metric('unauthenticated_sockets_closed_total', 'late'), 5);
    assert.is(await rig.metric('unauthenticated_sockets'), 0);
    assert.is(await rig.metric('faults_total'), 0);
  }));

test('H-8: of many that come together from one address, each has its time limit', () =>
  withRig({ config: { handshakeTimeoutMs: 1_000 } }, async (rig) => {
    const silent = Array.from({ length: 5 }, () => silentSocket(rig, '127.0.0.1'));
    const gone = silent.map(closed);
    const devices = Array.from({ length: 30 }, () => new RawDevice(rig.url));
    const closings = await Promise.all(devices.map((device) => device.closed()));
    assert.equal(
      closings.map(({ code }) => code),
      closings.map(() => 4202),
    );
    await Promise.all(gone);
    assert.is(await rig.metric('unauthenticated_sockets'), 0);
  }));

for (const [kind, open] of [
  ['sockets that say nothing', silentSocket],
  ['legs that say nothing', silentLeg],
] as const) {
  test(`210 ${kind}, opened again and again, keep no device out at a limit of 200`, () =>
    withRig(
      {
        config: {
          maxUnauthenticated: 200,
          upgradesPerSecond: 1_000_000,
          initial: { group: 'root', port: 0, connectionLimit: 200 },
        },
      },
      async (rig) => {
        const stop = keepOpen(210, () => open(rig, `127.0.9.${1 + Math.floor(Math.random() * 8)}`));
        try {
          await waitFor(async () => (await rig.metric('unauthenticated_sockets_closed_total')) > 210);
          const devices = [];
          for (let n = 0; n < 20; n++) devices.push((await connectDevice(rig.url, await rig.enrol())).device);
          assert.ok((await rig.metric('unauthenticated_sockets')) <= 200);
          assert.equal(
            devices.map(({ closing }) => closing),
            devices.map(() => null),
          );
          assert.is(await rig.metric('faults_total'), 0);
        } finally {
          stop();
        }
      },
    ));
}

test('an address has a quarter of the bound and its prefix half of it; the oldest of it go', () =>
  withRig({ config: { maxUnauthenticated: 40 } }, async (rig) => {
    const first = silentSocket(rig, '127.0.9.1');
    await waitFor(async () => (await rig.metric('unauthenticated_sockets')) === 1);
    const gone = closed(first);
    for (let n = 0; n < 10; n++) silentSocket(rig, '127.0.9.1');
    await gone;
    assert.is(await rig.metric('unauthenticated_sockets_closed_total', 'address'), 1);
    for (let n = 0; n < 10; n++) silentSocket(rig, '127.0.9.2');
    await waitFor(async () => (await rig.metric('unauthenticated_sockets')) === 20);
    silentSocket(rig, '127.0.9.3');
    await waitFor(async () => (await rig.metric('unauthenticated_sockets_closed_total', 'prefix')) === 1);
    assert.is(await rig.metric('unauthenticated_sockets'), 20);
  }));

test('when all together are too many, the largest prefix loses its oldest', () =>
  withRig({ config: { maxUnauthenticated: 20 } }, async (rig) => {
    const small = Array.from({ length: 10 }, (_, n) => silentSocket(rig, `127.0.${20 + n}.1`));
    await waitFor(async () => (await rig.metric('unauthenticated_sockets')) === 10);
    for (let n = 0; n < 10; n++) silentSocket(rig, `127.0.9.${1 + (n % 5)}`);
    await waitFor(async () => (await rig.metric('unauthenticated_sockets')) === 20);
    await connectDevice(rig.url, await rig.enrol());
    assert.is(await rig.metric('unauthenticated_sockets_closed_total', 'crowded'), 1);
    assert.is(await rig.metric('unauthenticated_sockets'), 19);
    assert.ok(small.every(({ readyState }) => readyState === 'open'));
  }));

test('many devices come through a proxy whose address is named: it has no share', () =>
  withRig({ config: { maxUnauthenticated: 40, sharedAddresses: '127.0.9.0/24' } }, async (rig) => {
    for (let n = 0; n < 35; n++) silentSocket(rig, '127.0.9.1');
    await waitFor(async () => (await rig.metric('unauthenticated_sockets')) === 35);
    assert.is(await rig.metric('unauthenticated_sockets_closed_total'), 0);
  }));

test('a stranger that is closed and does not close its side keeps no socket beyond the bound', () =>
  withRig({ config: { maxUnauthenticated: 8, upgradesPerSecond: 10_000 } }, async (rig) => {
    const codes: number[] = [];
    for (let n = 0; n < 8; n++) {
      const device = new RawDevice(rig.url);
      await prove(device, makeIdentity(`nobody-${n}`));
      codes.push((await device.closed()).code);
    }
    assert.equal(codes, [4402, 4402, 4402, 4402, 1006, 1006, 1006, 1006]);
    await connectDevice(rig.url, await rig.enrol());
  }));

test('devices that come together from one address are distinguished or counted, and all are served', () =>
  withRig({ config: { maxUnauthenticated: 400 } }, async (rig) => {
    const identities = [];
    for (let n = 0; n < 60; n++) identities.push(await rig.enrol());
    for (let n = 0; n < 5; n++) silentSocket(rig, '127.0.0.1');
    const devices = await Promise.all(identities.map((identity) => connectDevice(rig.url, identity)));
    assert.equal(
      devices.map(({ device }) => device.closing),
      devices.map(() => null),
    );
    assert.is(
      await rig.metric('unauthenticated_sockets'),
      await rig.metric('unauthenticated_sockets', 'accepted'),
    );
    assert.ok((await rig.metric('unauthenticated_sockets')) <= 5);
    assert.is(await rig.metric('faults_total'), 0);
  }));

test('a probe is answered, and the next one too, whoever of its address upgrades meanwhile', () =>
  withRig({}, async (rig) => {
    const answered = (socket: Socket) => new Promise((resolve) => void socket.once('data', resolve));
    const upgrade =
      'GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n' +
      `Sec-WebSocket-Protocol: ${SUBPROTOCOL}\r\n\r\n`;
    for (let round = 0; round < 6; round++) {
      const sockets = [silentSocket(rig), silentSocket(rig)];
      const [probing, upgrading] = (round % 2 ? sockets : [...sockets].reverse()) as [Socket, Socket];
      await waitFor(async () => (await rig.metric('unauthenticated_sockets', 'accepted')) === 2);
      const both = [probing, upgrading].map(answered);
      // In one turn: the gateway of this process reads both before it answers.
      for (const [socket, text] of [
        [probing, 'GET /probe HTTP/1.1\r\nHost: x\r\n\r\n'],
        [upgrading, upgrade],
      ] as const) {
        socket.write(text);
      }
      await Promise.all(both);
      for (let again = 0; again < 2; again++) {
        const next = answered(probing);
        probing.write('GET /probe HTTP/1.1\r\nHost: x\r\n\r\n');
        assert.match(String(await next), /^HTTP\/1.1 204/);
      }
      for (const socket of sockets) socket.destroy();
      await waitFor(async () => (await rig.metric('unauthenticated_sockets')) === 0);
    }
    assert.is(await rig.metric('faults_total'), 0);
  }));

test.run();
