import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { wsLegDial } from '../../device/index.ts';
import { encodeHello, TUNNEL_CLOSE } from '../../protocol/index.ts';
import type { TunnelStream } from '../../tunnel/index.ts';
import { pattern } from '../tunnel/pair.ts';
import { waitFor } from '../wait.ts';
import { connectDevice } from './raw-device.ts';
import { type Rig, withRig } from './rig.ts';
import { type Granted, granted, makeEnd, makeGrant, openCollecting, RawLeg } from './tunnel-rig.ts';

/** A device's end that sends back whatever comes. */
const echo = (stream: TunnelStream) => {
  stream.accepted();
  return {
    data: (bytes: Uint8Array) => {
      stream.write(bytes);
      stream.consumed(bytes.length);
    },
    end: () => stream.end(),
    writable: () => {},
    closed: () => {},
  };
};

test('T-1: two legs are joined, and what one end writes comes out of the other', async () => {
  await withRig({}, async (rig) => {
    const { operator: operatorTicket, device: deviceTicket } = await granted(rig);
    const device = makeEnd('device', deviceTicket, { accept: () => echo });
    const operator = makeEnd('operator', operatorTicket);
    try {
      await Promise.all([device.tunnel.start(), operator.tunnel.start()]);
      const got: Buffer[] = [];
      let closed = 0;
      const stream = operator.tunnel.open({ host: '127.0.0.1', port: 22 }, (own) => ({
        data: (bytes) => {
          got.push(Buffer.from(bytes));
          own.consumed(bytes.length);
        },
        end: () => {},
        writable: () => {},
        closed: (reset) => {
          assert.is(reset, undefined);
          closed++;
        },
      }));
      stream.write(Buffer.from('hello '));
      stream.write(Buffer.from('there'));
      stream.end();
      await waitFor(() => closed === 1, { what: 'the stream to end' });
      assert.is(Buffer.concat(got).toString(), 'hello there');
      assert.is(operator.tunnel.streams, 0);
      await rig.receipt('tunnel', ({ event, side }) => event === 'joined' && side === 'device');
      await rig.receipt('tunnel', ({ event, side }) => event === 'joined' && side === 'operator');
      operator.tunnel.close('done');
      const end = await rig.receipt('tunnel', ({ event }) => event === 'ended');
      assert.is(end.reason, 'done');
      assert.is(end.side, 'operator');
      assert.ok(end.bytesUp > 11 && end.bytesDown > 11);
      await waitFor(() => device.ended.length > 0, { what: 'the device to hear of it' });
      assert.equal(device.ended, ['done']);
    } finally {
      operator.tunnel.close();
      device.tunnel.close();
    }
  });
});

/** Joins both sides with raw legs. */
async function joined(rig: Rig, made: Granted): Promise<{ operator: RawLeg; device: RawLeg }> {
  const operator = await new RawLeg(rig.url).open();
  operator.join('operator', made.operator);
  await operator.take('joined');
  const device = await new RawLeg(rig.url).open();
  device.join('device', made.device);
  await device.take('joined');
  return { operator, device };
}

/** Joins with a ticket that is not good. */
async function refusal(rig: Rig, say: (leg: RawLeg) => void): Promise<{ reason: string; code: number }> {
  const leg = await new RawLeg(rig.url).open();
  say(leg);
  const { reason } = await leg.take('refused');
  const { code } = await leg.closed();
  return { reason, code };
}

test('T-1: frames pass as they are, both ways, and are lost while the other leg is away', async () => {
  await withRig({}, async (rig) => {
    const made = await granted(rig);
    const operator = await new RawLeg(rig.url).open();
    operator.join('operator', made.operator);
    await operator.take('joined');
    assert.equal(await operator.take('peer'), { t: 'peer', here: false, pair: 0 });
    operator.socket.send(Buffer.from('nobody hears this'));
    const device = await new RawLeg(rig.url).open();
    device.join('device', made.device);
    await device.take('joined');
    assert.equal(await operator.take('peer'), { t: 'peer', here: true, pair: 1 });
    assert.equal(await device.take('peer'), { t: 'peer', here: true, pair: 1 });
    const bytes = pattern(65_600);
    operator.socket.send(bytes);
    device.socket.send(Buffer.from([0, 255]));
    await waitFor(() => device.frames.length > 0 && operator.frames.length > 0, { what: 'frames' });
    assert.ok(device.frames[0]?.equals(bytes));
    assert.equal(operator.frames, [Buffer.from([0, 255])]);
    await waitFor(async () => (await rig.metric('tunnel_bytes_total')) >= 65_602, { what: 'bytes counted' });
    assert.is(await rig.metric('tunnels'), 1);
    assert.is((await rig.load()).tunnels?.limit, 500);
    operator.close();
    device.close();
  });
});

test('T-2: a leg that says something else first, or garbage, is closed and nothing happens', async () => {
  await withRig({}, async (rig) => {
    const made = await granted(rig);
    const wrong: ((leg: RawLeg) => void)[] = [
      (leg) => leg.socket.send('{"t":"ping"}'),
      (leg) => leg.socket.send('{}'),
      (leg) => leg.socket.send('x'.repeat(5_000)),
      (leg) => leg.socket.send(Buffer.from('frame')),
      (leg) => {
        leg.join('operator', { ...made.operator, ticket: 'short' });
      },
    ];
    for (const say of wrong) {
      const leg = await new RawLeg(rig.url).open();
      say(leg);
      const { code } = await leg.closed();
      assert.is(code, TUNNEL_CLOSE.protocolError);
    }
    // Text that is not UTF-8 does not even get a code.
    const leg = await new RawLeg(rig.url).open();
    leg.socket.send(Buffer.from([0xff, 0xfe]), { binary: false });
    await leg.closed();
    const { operator, device } = await joined(rig, made);
    device.join('device', made.device);
    assert.is((await device.closed()).code, TUNNEL_CLOSE.protocolError);
    assert.is((await rig.receipt('tunnel', ({ event }) => event === 'left')).side, 'device');
    operator.close();
    assert.is(await rig.metric('faults_total'), 0);
  });
});

test('T-3: invalid, used and expired tickets are refused; a good one waits for its grant', async () => {
  await withRig({}, async (rig) => {
    const made = await granted(rig);
    const other = await granted(rig, { joinBy: Date.now() - 1 });
    const bad = { ...made.operator, ticket: 'A'.repeat(43) };
    assert.equal(await refusal(rig, (leg) => leg.join('operator', bad)), {
      reason: 'bad-ticket',
      code: TUNNEL_CLOSE.refused,
    });
    assert.is((await refusal(rig, (leg) => leg.join('operator', made.device))).reason, 'bad-ticket');
    assert.is((await refusal(rig, (leg) => leg.join('device', made.operator))).reason, 'bad-ticket');
    const { operator, device } = await joined(rig, made);
    operator.say({ t: 'ping' });
    await operator.take('pong');
    assert.is((await refusal(rig, (leg) => leg.join('operator', made.operator))).reason, 'used-ticket');
    const foreign = { ...made.device, tunnel: other.device.tunnel };
    assert.ok(
      ['bad-ticket', 'unknown-tunnel'].includes(
        (await refusal(rig, (leg) => leg.join('device', foreign))).reason,
      ),
    );
    const reported = await rig.receipt('tunnel', ({ reason }) => reason === 'used-ticket');
    assert.is(reported.address, '127.0.0.1');
    assert.is(reported.side, 'operator');
    assert.is(
      (await refusal(rig, (leg) => leg.resume('operator', made.operator, 'B'.repeat(43)))).reason,
      'bad-secret',
    );

    const late = makeGrant(rig.url);
    const early = await new RawLeg(rig.url).open();
    early.join('operator', late.operator);
    await rig.bus.inner.outboxes.append(await rig.incarnation(), [{ devices: [], tunnel: late.grant }]);
    await early.take('joined');
    const never = makeGrant(rig.url);
    assert.is((await refusal(rig, (leg) => leg.join('device', never.device))).reason, 'unknown-tunnel');
    assert.ok((await rig.metric('tunnel_legs_refused_total', 'unknown-tunnel')) >= 1);
    for (const leg of [operator, device, early]) leg.close();
  });
});

test('T-3: a leg that missed `joined` may reuse its ticket until its next message', async () => {
  await withRig({}, async (rig) => {
    const made = await granted(rig);
    const { operator, device } = await joined(rig, made);
    // The gateway has not noticed yet that this leg dropped.
    const again = await new RawLeg(rig.url).open();
    again.join('operator', made.operator);
    await again.take('joined');
    assert.is((await operator.closed()).code, TUNNEL_CLOSE.replaced);
    again.close();
    const third = await new RawLeg(rig.url).open();
    third.join('operator', made.operator);
    const { resume } = await third.take('joined');
    const { pair } = await third.take('peer');
    third.socket.send(encodeHello({ pair, window: 65_536, highest: 0, streams: [] }));
    await waitFor(() => device.frames.length === 1, { what: 'the frame' });
    assert.is((await refusal(rig, (leg) => leg.join('operator', made.operator))).reason, 'used-ticket');
    third.close();
    const fourth = await new RawLeg(rig.url).open();
    fourth.resume('operator', made.operator, resume);
    await fourth.take('joined');
    fourth.close();
    device.close();
  });
});

test('T-3: an end whose connection breaks before `joined` joins nevertheless', async () => {
  await withRig({}, async (rig) => {
    const made = await granted(rig);
    let dialed = 0;
    const dial = wsLegDial();
    const end = makeEnd('operator', made.operator, {
      dial: (url, events) => {
        dialed += 1;
        if (dialed > 1) return dial(url, events);
        const socket = dial(url, { ...events, text: () => socket.terminate() });
        return socket;
      },
    });
    await end.tunnel.start();
    assert.is(dialed, 2);
    end.tunnel.close();
  });
});

test('T-3: a ticket is good until it expires', async () => {
  await withRig({}, async (rig) => {
    const made = await granted(rig, { joinBy: Date.now() + 2_500 });
    const operator = await new RawLeg(rig.url).open();
    operator.join('operator', made.operator);
    await operator.take('joined');
    await waitFor(() => Date.now() >= made.grant.joinBy, { what: 'the ticket to expire' });
    const { reason } = await refusal(rig, (leg) => leg.join('device', made.device));
    assert.ok(reason === 'expired-ticket' || reason === 'unknown-tunnel', reason);
    const ended = await rig.receipt('tunnel', ({ event }) => event === 'ended');
    assert.is(ended.reason, 'not-joined');
    assert.equal(await operator.take('end'), { t: 'end', reason: 'not-joined' });
    assert.is((await operator.closed()).code, TUNNEL_CLOSE.ended);
  });
});

test('T-4: a leg resumes with its newest secret, or the previous one if that was lost', async () => {
  await withRig({}, async (rig) => {
    const made = await granted(rig);
    const operator = await new RawLeg(rig.url).open();
    operator.join('operator', made.operator);
    const first = (await operator.take('joined')).resume;
    const device = await new RawLeg(rig.url).open();
    device.join('device', made.device);
    await device.take('joined');
    await device.take('peer');
    operator.close();
    assert.equal(await device.take('peer'), { t: 'peer', here: false, pair: 1 });

    // The answer to this one "does not arrive".
    const lost = await new RawLeg(rig.url).open();
    lost.resume('operator', made.operator, first);
    const second = (await lost.take('joined')).resume;
    assert.equal(await device.take('peer'), { t: 'peer', here: true, pair: 2 });
    lost.close();
    const again = await new RawLeg(rig.url).open();
    again.resume('operator', made.operator, first);
    const third = (await again.take('joined')).resume;
    assert.is(new Set([first, second, third]).size, 3);
    again.say({ t: 'ping' });
    await again.take('pong');
    assert.is(
      (await refusal(rig, (leg) => leg.resume('operator', made.operator, first))).reason,
      'bad-secret',
    );
    assert.is((await refusal(rig, (leg) => leg.resume('device', made.device, third))).reason, 'bad-secret');

    const newer = await new RawLeg(rig.url).open();
    newer.resume('operator', made.operator, third);
    await newer.take('joined');
    assert.is((await again.closed()).code, TUNNEL_CLOSE.replaced);
    await rig.receipt('tunnel', ({ event, side }) => event === 'resumed' && side === 'operator');
    newer.close();
    device.close();
  });
});

test('T-4: legs that drop in the middle of it lose no byte', async () => {
  await withRig({}, async (rig) => {
    const made = await granted(rig);
    const device = makeEnd('device', made.device, { accept: () => echo });
    const operator = makeEnd('operator', made.operator);
    try {
      await Promise.all([device.tunnel.start(), operator.tunnel.start()]);
      const bytes = pattern(6 * 1024 * 1024);
      const got: Buffer[] = [];
      let length = 0;
      let closed = 0;
      let at = 0;
      const send = (stream: TunnelStream) => {
        while (at < bytes.length) {
          const part = bytes.subarray(at, at + 50_000);
          at += part.length;
          if (!stream.write(part)) return;
        }
        stream.end();
      };
      const stream = operator.tunnel.open({ host: '127.0.0.1', port: 22 }, (own) => ({
        data: (part) => {
          got.push(Buffer.from(part));
          const before = length;
          length += part.length;
          own.consumed(part.length);
          if (Math.floor(before / 1_000_000) === Math.floor(length / 1_000_000)) return;
          (length % 2 === 0 ? operator : device).tunnel.drop();
        },
        end: () => {},
        writable: () => send(own),
        closed: () => closed++,
      }));
      send(stream);
      await waitFor(() => closed === 1, { what: `all bytes back (${length})`, timeoutMs: 20_000 });
      assert.ok(Buffer.concat(got).equals(bytes));
      assert.ok(operator.dropped + device.dropped >= 3);
      assert.equal([operator.ended, device.ended], [[], []]);
    } finally {
      operator.tunnel.close();
      device.tunnel.close();
    }
  });
});

test('T-4, T-13: a leg that does not come back in time ends the tunnel', async () => {
  await withRig({ config: { tunnelHoldMs: 200 } }, async (rig) => {
    const { operator, device } = await joined(rig, await granted(rig));
    device.close();
    const ended = await rig.receipt('tunnel', ({ event }) => event === 'ended');
    assert.is(ended.reason, 'device-left');
    assert.is((await operator.take('end')).reason, 'device-left');
  });
});

test('T-5: a leg that gives no sign of life is closed, and one that does is not', async () => {
  await withRig({ config: { tunnelPingMs: 100 } }, async (rig) => {
    const { operator, device } = await joined(rig, await granted(rig));
    const answering = setInterval(() => {
      if (operator.socket.readyState === 1) operator.say({ t: 'pong' });
    }, 20);
    try {
      assert.is((await device.closed()).code, TUNNEL_CLOSE.silent);
      assert.is(operator.closing, null);
      await operator.take('ping');
    } finally {
      clearInterval(answering);
    }
    operator.close();
  });
});

test('T-5: both ends notice a connection that is dead, and the tunnel goes on', async () => {
  await withRig({ config: { tunnelPingMs: 100 } }, async (rig) => {
    const made = await granted(rig);
    const device = makeEnd('device', made.device, { accept: () => echo }, { pingMs: 100 });
    const operator = makeEnd('operator', made.operator, {}, { pingMs: 100 });
    try {
      await Promise.all([device.tunnel.start(), operator.tunnel.start()]);
      await waitFor(() => operator.tunnel.connected && device.tunnel.connected, { what: 'both together' });
      operator.tunnel.drop();
      await waitFor(() => operator.dropped === 1 && operator.tunnel.connected, {
        what: 'both together again',
      });
    } finally {
      operator.tunnel.close();
      device.tunnel.close();
    }
  });
});

test('T-5: when a gateway leaves, the same streams go on at another', async () => {
  await withRig({}, async (first) => {
    await withRig({}, async (second) => {
      const made = await granted(first);
      const device = makeEnd('device', made.device, { accept: () => echo });
      const operator = makeEnd('operator', made.operator);
      try {
        await Promise.all([device.tunnel.start(), operator.tunnel.start()]);
        const { stream, got } = openCollecting(operator.tunnel);
        stream.write(Buffer.from('before, '));
        await waitFor(() => Buffer.concat(got).length === 8, { what: 'an echo' });
        const leaving = first.worker.stop({ deadlineMs: 8_000 });
        await waitFor(() => operator.moving === 1 && device.moving === 1, { what: 'both to be told' });
        stream.write(Buffer.from('meanwhile, '));
        const next = makeGrant(second.url, { id: made.grant.id });
        await second.bus.inner.outboxes.append(await second.incarnation(), [
          { devices: [], tunnel: next.grant },
        ]);
        await Promise.all([operator.tunnel.moveTo(next.operator), device.tunnel.moveTo(next.device)]);
        stream.write(Buffer.from('after'));
        await waitFor(() => Buffer.concat(got).toString() === 'before, meanwhile, after', {
          what: 'the rest',
        });
        await leaving;
        const ended = await first.receipt('tunnel', ({ event }) => event === 'ended');
        assert.is(ended.reason, 'moved');
        assert.equal([operator.ended, device.ended], [[], []]);
      } finally {
        operator.tunnel.close();
        device.tunnel.close();
      }
    });
  });
});

test('T-5: new tickets at the same gateway carry the same streams on', async () => {
  await withRig({}, async (rig) => {
    const made = await granted(rig);
    const device = makeEnd('device', made.device, { accept: () => echo });
    const operator = makeEnd('operator', made.operator);
    try {
      await Promise.all([device.tunnel.start(), operator.tunnel.start()]);
      const { stream, got } = openCollecting(operator.tunnel);
      let expected = 0;
      for (let round = 0; round < 5; round++) {
        const bytes = pattern(700_000, round);
        expected += bytes.length;
        stream.write(bytes);
        const next = await granted(rig, { id: made.grant.id });
        await Promise.all([operator.tunnel.moveTo(next.operator), device.tunnel.moveTo(next.device)]);
      }
      await waitFor(() => Buffer.concat(got).length === expected, { what: 'all bytes back' });
      assert.equal([operator.ended, device.ended], [[], []]);
      assert.is(await rig.metric('tunnels'), 1);
    } finally {
      operator.tunnel.close();
      device.tunnel.close();
    }
  });
});

test('T-5: a tunnel moves although its former leg is refused once there are new tickets', async () => {
  await withRig({}, async (rig) => {
    const made = await granted(rig);
    const device = makeEnd('device', made.device, { accept: () => echo });
    const dial = wsLegDial();
    let dials = 0;
    const refusals: string[] = [];
    // The leg with the new ticket, the second, says nothing until the former one was refused.
    const operator = makeEnd('operator', made.operator, {
      dial: (url, events) =>
        ++dials === 2
          ? dial(url, {
              ...events,
              opened: () => void waitFor(() => refusals.length > 0).then(() => events.opened()),
            })
          : dial(url, {
              ...events,
              text: (text) => {
                events.text(text);
                const { t, reason } = JSON.parse(text) as { t: string; reason?: string };
                if (t === 'refused' && reason) refusals.push(reason);
              },
            }),
    });
    try {
      await Promise.all([device.tunnel.start(), operator.tunnel.start()]);
      const { stream, got } = openCollecting(operator.tunnel);
      const next = await granted(rig, { id: made.grant.id });
      await device.tunnel.moveTo(next.device);
      const moved = operator.tunnel.moveTo(next.operator);
      operator.tunnel.drop();
      await moved;
      assert.equal(refusals, ['bad-secret']);
      stream.write(Buffer.from('still here'));
      await waitFor(() => Buffer.concat(got).toString() === 'still here', { what: 'an echo' });
      assert.equal([operator.ended, device.ended], [[], []]);
    } finally {
      operator.tunnel.close();
      device.tunnel.close();
    }
  });
});

test('a move fails when the tunnel is closed meanwhile, or another move begins', async () => {
  await withRig({}, async (rig) => {
    const made = await granted(rig);
    const operator = makeEnd('operator', made.operator);
    await operator.tunnel.start();
    const nowhere = makeGrant('ws://127.0.0.1:9/', { id: made.grant.id });
    const failed = (move: Promise<void>) =>
      move.then(
        () => 'moved',
        (error: Error) => error.message,
      );
    const first = failed(operator.tunnel.moveTo(nowhere.operator));
    const second = failed(operator.tunnel.moveTo(nowhere.operator));
    assert.is(await first, 'another move began');
    operator.tunnel.close('done');
    assert.is(await second, 'done');
  });
});

test('T-5: a tunnel that nobody moves ends with its gateway, and both ends hear why', async () => {
  await withRig({}, async (rig) => {
    const made = await granted(rig);
    const device = makeEnd('device', made.device, { accept: () => echo, moveMs: 200 });
    const operator = makeEnd('operator', made.operator, { moveMs: 200 });
    await Promise.all([device.tunnel.start(), operator.tunnel.start()]);
    await rig.worker.stop({ deadlineMs: 1_000 });
    await waitFor(() => operator.ended.length > 0 && device.ended.length > 0, { what: 'both to hear' });
    assert.equal([operator.ended, device.ended], [['gateway-left'], ['gateway-left']]);
    assert.is((await rig.receipt('tunnel', ({ event }) => event === 'ended')).reason, 'gateway-left');
  });
});

test('T-13: a tunnel ends when it is idle, too old, over its bytes, or closed from above', async () => {
  await withRig({}, async (rig) => {
    for (const [reason, limits] of [
      ['idle', { idleMs: 2_000 }],
      ['life', { lifeMs: 2_000 }],
      ['bytes', { maxBytes: 1_000 }],
      ['closed by ada', {}],
    ] as const) {
      const made = await granted(rig, limits);
      const { operator, device } = await joined(rig, made);
      if (reason === 'bytes') operator.socket.send(Buffer.alloc(1_001));
      if (reason === 'closed by ada') {
        const end = { id: made.grant.id, reason };
        await rig.bus.inner.outboxes.append(await rig.incarnation(), [{ devices: [], tunnelEnd: end }]);
      }
      assert.is((await operator.take('end')).reason, reason);
      assert.is((await device.take('end')).reason, reason);
      assert.is((await device.closed()).code, TUNNEL_CLOSE.ended);
      const ended = await rig.receipt(
        'tunnel',
        (one) => one.event === 'ended' && one.tunnel === made.grant.id,
      );
      assert.is(ended.reason, reason);
    }
    assert.is(await rig.metric('tunnels'), 0);
    assert.is(await rig.metric('tunnel_legs'), 0);
  });
});

test('T-13: a gateway takes as many tunnels as it may, and devices do not notice any', async () => {
  await withRig({ config: { maxTunnels: 1 } }, async (rig) => {
    const identity = await rig.enrol();
    const { device: connection } = await connectDevice(rig.url, identity);
    const first = await granted(rig);
    const { operator, device } = await joined(rig, first);
    const second = await granted(rig);
    const ended = await rig.receipt(
      'tunnel',
      ({ event, tunnel }) => event === 'ended' && tunnel === second.grant.id,
    );
    assert.is(ended.reason, 'busy');
    assert.is(await rig.metric('connections'), 1);
    connection.send({ t: 'beat' });
    await connection.take('beat');
    for (const leg of [operator, device]) leg.close();
    await connection.close();
  });
});

test('T-9: a leg that does not read is closed before it costs more than its bound', async () => {
  await withRig({}, async (rig) => {
    const { operator, device } = await joined(rig, await granted(rig));
    device.socket.pause();
    const frame = Buffer.alloc(65_600);
    const flooding = setInterval(() => {
      for (let count = 0; count < 20 && operator.socket.bufferedAmount < 4_000_000; count++)
        operator.socket.send(frame);
    }, 5);
    try {
      const left = await rig.receipt('tunnel', ({ event }) => event === 'left');
      assert.is(left.side, 'device');
      assert.is(await rig.metric('tunnel_events_total', 'slow-leg'), 1);
      assert.is(await rig.metric('tunnel_buffered_bytes'), 0);
    } finally {
      clearInterval(flooding);
    }
    operator.close();
    device.close();
  });
});

test('T-2: a leg that came to another worker of the gateway is passed through to its tunnel', async () => {
  const siblingDir = await mkdtemp(join(tmpdir(), 'tunnels-'));
  const config = { workers: 2, siblingDir };
  await withRig({ config }, async (owner) => {
    await withRig({ config: { ...config, workerNumber: 1 }, bus: owner.bus }, async (sibling) => {
      const made = await granted(owner);
      const elsewhere = { ...made.operator, gateway: { name: 'gw1', url: sibling.url } };
      const device = makeEnd('device', made.device, { accept: () => echo });
      const operator = makeEnd('operator', elsewhere);
      try {
        await Promise.all([device.tunnel.start(), operator.tunnel.start()]);
        const bytes = pattern(3 * 1024 * 1024);
        const got: Buffer[] = [];
        let closed = 0;
        const stream = operator.tunnel.open({ host: '127.0.0.1', port: 22 }, (own) => ({
          data: (part) => {
            got.push(Buffer.from(part));
            own.consumed(part.length);
          },
          end: () => {},
          writable: () => {},
          closed: () => closed++,
        }));
        stream.write(bytes);
        stream.end();
        await waitFor(() => closed === 1, { what: 'all bytes back' });
        assert.ok(Buffer.concat(got).equals(bytes));
        const report = await owner.receipt(
          'tunnel',
          ({ event, side }) => event === 'joined' && side === 'operator',
        );
        assert.is(report.address, '127.0.0.1');
        operator.tunnel.drop();
        await waitFor(() => operator.dropped === 1 && operator.tunnel.connected, { what: 'it to come back' });
        // The process that has the tunnel dies: the leg comes to know.
        await owner.worker.stop({ deadlineMs: 500 });
        await waitFor(() => operator.moving === 1, { what: 'the leg to hear of the end' });
      } finally {
        operator.tunnel.close();
        device.tunnel.close();
      }
    });
  });
  await rm(siblingDir, { recursive: true, force: true });
});

test.run();
