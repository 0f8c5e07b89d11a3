import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { BusUnavailable, DirectoryIncomplete } from '../../bus/bus.ts';
import { keyMark } from '../../bus/key-mark.ts';
import { MemoryBus } from '../../bus/memory-bus.ts';
import { rankGateways } from '../../bus/ranking.ts';
import { CLOSE, encodeGatewayMessage, encodeValue } from '../../protocol/index.ts';
import { waitFor } from '../wait.ts';
import { connectDevice, directoryDevice, makeIdentity, prove, RawDevice } from './raw-device.ts';
import { BRANCH, ROOT, withRig } from './rig.ts';

test('H-1: a WebSocket that does not offer pushpoint.v1 is refused with 400 and told what to offer', () =>
  withRig({}, async (rig) => {
    for (const protocols of [[], ['mqtt'], ['pushpoint.v10']]) {
      const device = new RawDevice(rig.url, protocols);
      await device.closed();
      assert.is(device.refused?.status, 400);
      assert.match(device.refused?.body ?? '', 'pushpoint.v1');
    }
    assert.is(await rig.metric('upgrades_refused_total', 'subprotocol'), 3);
  }));

test('V-1: pushpoint.v1 is picked from a list and repeated', () =>
  withRig({}, async (rig) => {
    const device = new RawDevice(rig.url, ['pushpoint.v9', 'pushpoint.v1']);
    await device.take('challenge');
    assert.is(device.socket.protocol, 'pushpoint.v1');
  }));

test('a plain HTTP request is asked to upgrade', () =>
  withRig({}, async (rig) => {
    const answer = await fetch(rig.url.replace('ws:', 'http:'));
    assert.is(answer.status, 426);
    assert.match(await answer.text(), 'pushpoint.v1');
  }));

test('H-2: the first message is a challenge with a fresh nonce, the gateway and its installation', () =>
  withRig({}, async (rig) => {
    const first = await new RawDevice(rig.url).take('challenge');
    const second = await new RawDevice(rig.url).take('challenge');
    assert.is(first.gateway, 'gw1');
    assert.is(first.installation, rig.bus.owner.current?.id);
    assert.is(first.nonce.length, 32);
    assert.is.not(Buffer.from(first.nonce).toString('hex'), Buffer.from(second.nonce).toString('hex'));
    assert.ok(Math.abs(first.time - Date.now()) < 5_000);
  }));

test('H-6: a good proof is answered with welcome, and the session is reported', () =>
  withRig({ settings: { group: ROOT } }, async (rig) => {
    const identity = await rig.enrol([ROOT, BRANCH]);
    const device = new RawDevice(rig.url);
    await prove(device, identity);
    const welcome = await device.take('welcome');
    assert.ok(welcome.session > 0);
    assert.is(welcome.heartbeatMs, 60_000);
    assert.equal(welcome.gateways, ['gw1']);
    const connected = await rig.receipt('connected');
    assert.equal(connected, {
      kind: 'connected',
      key: keyMark(identity.publicKey),
      device: identity.id,
      session: welcome.session,
      incarnation: await rig.incarnation(),
      worker: 'gw1/0',
      gateway: 'gw1',
      address: '127.0.0.1',
      software: 'raw-device 1',
      caps: ['sync'],
      membership: [1, 1],
      at: connected.at,
    });
    const [holder] = await rig.bus.presence.locate([identity.id]);
    assert.equal(holder, { incarnation: connected.incarnation, session: welcome.session });
  }));

test('H-6: the list names the gateways for the group of the device, ranked for it, drained ones last', () =>
  withRig({ settings: { group: ROOT } }, async (rig) => {
    await rig.putGateway({ name: 'gw0', group: BRANCH, address: 'ws://gw0.example.net', weight: 500 });
    await rig.putGateway({ name: 'gw2', group: 'elsewhere', address: 'ws://gw2.example.net' });
    await rig.putGateway({ name: 'gw3', runPushServer: false, address: 'ws://gw3.example.net' });
    await rig.putGateway({ name: 'gw4', draining: true, address: 'ws://gw4.example.net' });
    const firsts = new Set<string>();
    for (let n = 0; n < 12 || firsts.size < 2; n++) {
      const identity = await rig.enrol([ROOT, BRANCH]);
      const ranked = rankGateways(identity.id, [
        { name: 'gw1', weight: 1_000 },
        { name: 'gw0', weight: 500 },
        { name: 'gw4', weight: 1_000, draining: true },
      ]).map(({ name }) => name);
      assert.is(ranked[2], 'gw4');
      firsts.add(ranked[0] ?? '');
      await waitFor(async () => {
        const device = new RawDevice(rig.url);
        await prove(device, identity);
        const { gateways } = await device.take('welcome');
        return gateways.join() === ranked.join();
      });
    }
  }));

test('S-7: the membership follows welcome when prove names an older edition, and only then', () =>
  withRig({}, async (rig) => {
    const identity = await rig.enrol([ROOT], { membershipEdition: [2, 7] });
    const old = await connectDevice(rig.url, identity, { membership: [1, 9] });
    const order = await old.device.take('order');
    assert.is(order.sig.length, 64);
    // The ledger hears of what was sent, and does not send it a second time.
    const { membership } = await rig.receipt('connected', ({ session }) => session === old.session);
    assert.equal(membership, [2, 7]);
    const current = await connectDevice(rig.url, identity, { membership: [2, 7] });
    current.device.send({ t: 'beat' });
    await current.device.take('beat');
    assert.is(current.device.received.length, 0);
    await connectDevice(rig.url, identity, { membership: [3, 1] });
    const told = rig.log.filter(({ msg }) => msg === 'device holds a newer membership than the directory');
    assert.is(told.length, 1);
    assert.equal(told[0]?.held, [3, 1]);
  }));

test('S-9: welcome brings the pass of the gateway, and so does an answer to a beat that asks', () =>
  withRig({}, async (rig) => {
    const pass = { body: Uint8Array.of(1, 2, 3), sig: new Uint8Array(64).fill(4) };
    const plain = await connectDevice(rig.url, await rig.enrol());
    assert.is(plain.welcome.pass, undefined);
    await rig.putGateway({ pass, port: rig.worker.port, revision: 2 });
    const identity = await rig.enrol();
    await waitFor(async () => (await connectDevice(rig.url, identity)).welcome.pass !== undefined);
    plain.device.send({ t: 'beat' });
    plain.device.send({ t: 'beat', pass: true });
    assert.equal(await plain.device.take('pass'), { t: 'pass', ...pass });
  }));

test('S-8, H-11: a device that is blocked or deleted is told so, signed, before it is turned away', () =>
  withRig({}, async (rig) => {
    for (const state of ['blocked', 'deleted'] as const) {
      const device = new RawDevice(rig.url);
      const identity = await rig.enrol([ROOT], { state, membershipEdition: [1, 2] });
      await prove(device, identity, { membership: [1, 1] });
      assert.is((await device.take('order')).sig.length, 64);
      const { code } = await device.closed();
      assert.is(code, state === 'blocked' ? CLOSE.blocked : CLOSE.unknownDevice);
    }
  }));

test('S-7: who was sent away with a newer membership is not admitted by an older entry', () =>
  withRig({}, async (rig) => {
    const identity = await rig.enrol();
    const { device, session } = await connectDevice(rig.url, identity);
    const newer = directoryDevice(identity, [ROOT], { membershipEdition: [1, 2] });
    const close = { code: CLOSE.notReady, reason: 'an earlier key', sessions: [session] };
    const delivery = { devices: [identity.id], frame: newer.membership, close };
    assert.is(await rig.bus.outboxes.append(await rig.incarnation(), [delivery]), 'appended');
    assert.is((await device.take('order')).sig.length, 64);
    assert.is((await device.closed()).code, CLOSE.notReady);
    const again = new RawDevice(rig.url);
    await prove(again, identity);
    assert.is((await again.closed()).code, CLOSE.notReady);
    await rig.bus.inner.directory.putDevices([newer]);
    await connectDevice(rig.url, identity);
  }));

test('E-5, H-3, H-9: what a device says of itself is passed on, and only then', () =>
  withRig({}, async (rig) => {
    const identity = await rig.enrol();
    await connectDevice(rig.url, identity);
    const plain = await rig.receipt('connected');
    assert.not('name' in plain || 'displaced' in plain);
    const device = new RawDevice(rig.url);
    await prove(device, identity, { name: 'till-7', displaced: true });
    const { session } = await device.take('welcome');
    const told = await rig.receipt('connected', (receipt) => receipt.session === session);
    assert.is(told.name, 'till-7');
    assert.is(told.displaced, true);
  }));

test('H-3: an entry of the directory that the administration server did not sign admits nobody', () =>
  withRig({}, async (rig) => {
    const [identity, other] = [await rig.enrol([ROOT, BRANCH]), await rig.enrol()];
    const impostor = { ...makeIdentity('impostor'), id: identity.id };
    const [entry, its] = await rig.bus.directory.devices([identity.id, other.id]);
    assert.ok(entry && its);
    const forged = [
      // The key of another, with the membership as it was, with that of another device, and unsigned.
      { ...entry, publicKey: impostor.publicKey },
      { ...its, id: identity.id, publicKey: other.publicKey },
      { ...directoryDevice(impostor, [ROOT, BRANCH]), membership: entry.membership },
      {
        ...directoryDevice(impostor, [ROOT, BRANCH]),
        membership: encodeGatewayMessage({ t: 'order', body: Uint8Array.of(0x80), sig: new Uint8Array(64) }),
      },
      // Its own key, in another group, or with another edition.
      { ...entry, groups: [ROOT] },
      { ...entry, membershipEdition: [9, 9] as [number, number] },
      { ...entry, membership: new Uint8Array(40) },
    ];
    for (const row of forged) {
      await rig.bus.inner.directory.putDevices([row]);
      const who = [identity, impostor, { ...other, id: identity.id }].find(
        ({ publicKey }) => Buffer.compare(publicKey, row.publicKey) === 0,
      );
      const device = new RawDevice(rig.url);
      await prove(device, who ?? identity);
      assert.is((await device.closed()).code, CLOSE.notReady);
    }
    assert.is(await rig.metric('memberships_refused_total'), forged.length);
    await waitFor(async () => (await rig.load()).warnings?.[0]?.startsWith(`${forged.length} admissions`));
    await rig.bus.inner.directory.putDevices([entry]);
    await connectDevice(rig.url, identity);
  }));

test('H-3: an unknown device, a blocked one and a bad proof each get their own code', () =>
  withRig({}, async (rig) => {
    const stranger = new RawDevice(rig.url);
    await prove(stranger, makeIdentity('stranger'));
    assert.is((await stranger.closed()).code, CLOSE.unknownDevice);

    const blocked = new RawDevice(rig.url);
    await prove(blocked, await rig.enrol([ROOT], { state: 'blocked' }));
    assert.is((await blocked.closed()).code, CLOSE.blocked);
    assert.is(blocked.received.length, 0, 'it holds the membership that says so');

    const identity = await rig.enrol();
    const impostor = new RawDevice(rig.url);
    await prove(impostor, { ...makeIdentity('x'), id: identity.id });
    assert.is((await impostor.closed()).code, CLOSE.badProof);

    const broken = await rig.enrol([ROOT], { publicKey: new Uint8Array(7) });
    const keyless = new RawDevice(rig.url);
    await prove(keyless, broken);
    assert.is((await keyless.closed()).code, CLOSE.badProof);
    assert.is(rig.receipts.length, 0);
  }));

test('H-4: a proof made for another challenge, gateway or device does not verify', () =>
  withRig({}, async (rig) => {
    const identity = await rig.enrol();
    const other = await new RawDevice(rig.url).take('challenge');
    const replaying = new RawDevice(rig.url);
    await prove(replaying, identity, { nonce: other.nonce });
    assert.is((await replaying.closed()).code, CLOSE.badProof);

    const elsewhere = new RawDevice(rig.url);
    await prove(elsewhere, identity, { gateway: 'gw2' });
    assert.is((await elsewhere.closed()).code, CLOSE.badProof);
  }));

test('H-4: the very bytes of a good prove are worth nothing on another connection', () =>
  withRig({}, async (rig) => {
    const identity = await rig.enrol();
    const honest = new RawDevice(rig.url);
    let recorded: Uint8Array | null = null;
    const send = honest.socket.send.bind(honest.socket) as (data: Uint8Array) => void;
    honest.socket.send = ((data: Uint8Array) => {
      recorded = data;
      send(data);
    }) as typeof honest.socket.send;
    await prove(honest, identity);
    await honest.take('welcome');
    const replaying = new RawDevice(rig.url);
    await replaying.take('challenge');
    replaying.sendBytes(recorded ?? new Uint8Array());
    assert.is((await replaying.closed()).code, CLOSE.badProof);
    honest.send({ t: 'beat' });
    await honest.take('beat');
  }));

test('H-10: a device of a group that is not served is told where to go and closed with outOfScope', () =>
  withRig({ settings: { group: BRANCH } }, async (rig) => {
    await rig.putGateway({ name: 'gw2', group: ROOT, address: 'ws://gw2.example.net' });
    const identity = await rig.enrol([ROOT]);
    await waitFor(async () => {
      const device = new RawDevice(rig.url);
      await prove(device, identity);
      const redirect = await device.take('redirect');
      assert.is((await device.closed()).code, CLOSE.outOfScope);
      assert.is(redirect.reason, 'scope');
      return redirect.to.join() === 'gw2';
    });
  }));

test('H-3: while the directory is not whole nobody is admitted and nobody is turned away for good', () =>
  withRig({ whole: false }, async (rig) => {
    const identity = await rig.enrol();
    const device = new RawDevice(rig.url);
    await prove(device, identity);
    assert.is((await device.closed()).code, CLOSE.notReady);
    assert.not(rig.worker.readiness().ready);
    await rig.makeWhole();
    await connectDevice(rig.url, identity);
    assert.ok(rig.worker.readiness().ready);
  }));

test('H-3: a bus that fails in the middle of the handshake closes with notReady', () =>
  withRig({}, async (rig) => {
    const identity = await rig.enrol();
    const { claim } = rig.bus.inner.presence;
    rig.bus.inner.presence.claim = () => Promise.reject(new BusUnavailable('gone'));
    const first = new RawDevice(rig.url);
    await prove(first, identity);
    assert.is((await first.closed()).code, CLOSE.notReady);
    rig.bus.inner.presence.claim = claim;
    const { devices } = rig.bus.inner.directory;
    rig.bus.inner.directory.devices = () => Promise.reject(new DirectoryIncomplete('gone'));
    const second = new RawDevice(rig.url);
    await prove(second, identity);
    assert.is((await second.closed()).code, CLOSE.notReady);
    rig.bus.inner.directory.devices = devices;
    await connectDevice(rig.url, identity);
  }));

test('H-7: before welcome only prove is allowed, and once', () =>
  withRig({}, async (rig) => {
    const early = new RawDevice(rig.url);
    await early.take('challenge');
    early.send({ t: 'beat' });
    assert.is((await early.closed()).code, CLOSE.protocolError);

    const unknown = new RawDevice(rig.url);
    await unknown.take('challenge');
    unknown.sendBytes(encodeValue({ t: 'later' }));
    assert.is((await unknown.closed()).code, CLOSE.protocolError);

    const identity = await rig.enrol();
    const twice = new RawDevice(rig.url);
    const challenge = await twice.take('challenge');
    twice.received.push(challenge, challenge);
    await prove(twice, identity);
    await prove(twice, identity);
    assert.is((await twice.closed()).code, CLOSE.protocolError);

    const { device } = await connectDevice(rig.url, identity);
    device.received.push(challenge);
    await prove(device, identity);
    assert.is((await device.closed()).code, CLOSE.protocolError);
  }));

test('H-8: a connection without a prove in time is closed', () =>
  withRig({ config: { handshakeTimeoutMs: 200 } }, async (rig) => {
    const slow = new RawDevice(rig.url);
    await slow.take('challenge');
    assert.is((await slow.closed()).code, CLOSE.handshakeTimeout);
    const { device } = await connectDevice(rig.url, await rig.enrol());
    await new Promise((resolve) => setTimeout(resolve, 500));
    assert.is(device.closing, null);
  }));

test('more connections before welcome than allowed: the oldest makes room', () =>
  withRig({ config: { maxUnauthenticated: 2, sharedAddresses: '127.0.0.1' } }, async (rig) => {
    const first = new RawDevice(rig.url);
    await first.take('challenge');
    const second = new RawDevice(rig.url);
    await second.take('challenge');
    await connectDevice(rig.url, await rig.enrol());
    assert.is((await first.closed()).code, 1006);
    assert.is(second.closing, null);
  }));

test('C-5: while all that may come are being admitted, more are refused with 503 and Retry-After', () => {
  const inner = new MemoryBus();
  const look = inner.directory.devices.bind(inner.directory);
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  inner.directory.devices = async (ids) => {
    await held;
    return look(ids);
  };
  const config = { maxUnauthenticated: 2, sharedAddresses: '127.0.0.1' };
  return withRig({ config, ownBus: inner }, async (rig) => {
    const devices = [new RawDevice(rig.url), new RawDevice(rig.url)];
    for (const device of devices) await prove(device, await rig.enrol());
    await waitFor(async () => (await rig.metric('unauthenticated_sockets', 'admitting')) === 2);
    const third = new RawDevice(rig.url);
    await third.closed();
    assert.is(third.refused?.status, 503);
    assert.ok(Number(third.refused?.retryAfter) >= 1);
    release();
    for (const device of devices) await device.take('welcome');
    await connectDevice(rig.url, await rig.enrol());
  });
});

test('C-5: more upgrades a second than allowed are refused with 503', () =>
  withRig({ config: { upgradesPerSecond: 1 } }, async (rig) => {
    const devices = Array.from({ length: 6 }, () => new RawDevice(rig.url));
    await waitFor(() => devices.filter(({ refused }) => refused?.status === 503).length >= 3);
    assert.ok((await rig.metric('upgrades_refused_total', 'rate')) >= 3);
  }));

test('H-9: a second connection replaces the first, whose late close does not disturb it', () =>
  withRig({}, async (rig) => {
    const identity = await rig.enrol();
    const first = await connectDevice(rig.url, identity);
    const second = await connectDevice(rig.url, identity);
    assert.ok(second.session > first.session);
    assert.is((await first.device.closed()).code, CLOSE.replaced);
    const ended = await rig.receipt('disconnected');
    assert.is(ended.session, first.session);
    assert.is(ended.code, CLOSE.replaced);
    assert.is(
      (await rig.receipt('connected', ({ session }) => session === second.session)).replaced,
      first.session,
    );
    const frame = encodeGatewayMessage({ t: 'settled', id: 'c1', state: 'succeeded' });
    await rig.bus.outboxes.append(await rig.incarnation(), [{ devices: [identity.id], frame }]);
    assert.is((await second.device.take('settled')).id, 'c1');
    const [holder] = await rig.bus.presence.locate([identity.id]);
    assert.is(holder?.session, second.session);
  }));

test('H-9: many connections of one device at once leave exactly one, the one presence names', () =>
  withRig({}, async (rig) => {
    const identity = await rig.enrol();
    const devices = Array.from({ length: 10 }, () => new RawDevice(rig.url));
    await Promise.all(devices.map((device) => prove(device, identity)));
    await waitFor(() => devices.filter(({ closing }) => closing?.code === CLOSE.replaced).length === 9);
    const left = devices.find(({ closing }) => closing === null);
    const { session } = (await left?.take('welcome')) ?? { session: -1 };
    assert.is((await rig.bus.presence.locate([identity.id]))[0]?.session, session);
    assert.is(rig.worker.sessions, 1);
  }));

test('H-9: one that leaves before its welcome leaves no session behind that nobody finds', () =>
  withRig({}, async (rig) => {
    const identity = await rig.enrol();
    const first = await connectDevice(rig.url, identity);
    const { presence } = rig.bus.inner;
    const claim = presence.claim.bind(presence);
    let answer = () => {};
    const answered = new Promise<void>((resolve) => {
      answer = resolve;
    });
    presence.claim = async (...args) => {
      const claims = await claim(...args);
      await answered;
      return claims;
    };
    const second = new RawDevice(rig.url);
    await prove(second, identity);
    const holder = async () => (await presence.locate([identity.id]))[0];
    await waitFor(async () => ((await holder())?.session ?? 0) > first.session, { what: 'the claim' });
    second.socket.terminate();
    await waitFor(() => rig.log.some(({ msg }) => msg === 'connection closed before welcome'));
    presence.claim = claim;
    answer();
    assert.is((await first.device.closed()).code, CLOSE.replaced);
    await waitFor(async () => (await holder()) === null, { what: 'nobody to hold the device' });
    const again = await connectDevice(rig.url, identity);
    assert.is((await holder())?.session, again.session);
  }));

test('a device that moves its group in the directory is judged by the new one at its next connection', () =>
  withRig({ settings: { group: BRANCH } }, async (rig) => {
    const identity = await rig.enrol([ROOT, BRANCH]);
    const { device } = await connectDevice(rig.url, identity);
    await device.close();
    await rig.bus.directory.putDevices([directoryDevice(identity, [ROOT])]);
    const again = new RawDevice(rig.url);
    await prove(again, identity);
    assert.is((await again.closed()).code, CLOSE.outOfScope);
  }));

test.run();
