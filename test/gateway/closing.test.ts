/** What follows a close frame on TCP. */
import type { Socket } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { CLOSE, encodeGatewayMessage } from '../../protocol/index.ts';
import { connectDevice, type RawDevice } from './raw-device.ts';
import { BRANCH, type Rig, ROOT, withRig } from './rig.ts';

const REDIRECT = encodeGatewayMessage({ t: 'redirect', to: ['gw2'], reason: 'balance', withinMs: 0 });

/**
 * Whether TCP's end had come by the time the gateway answered requests that were sent after its close frame.
 */
async function endsAtOnce(rig: Rig, device: RawDevice): Promise<boolean> {
  const { _socket: tcp, _receiver: receiver } = device.socket as unknown as {
    _socket: Socket;
    _receiver: { once(name: 'conclude', listener: () => void): void };
  };
  let ended = false;
  tcp.once('end', () => {
    ended = true;
  });
  // As in libraries that leave the end of TCP to the server.
  const { end } = tcp;
  tcp.end = () => tcp;
  await new Promise<void>((resolve) => receiver.once('conclude', resolve));
  for (let i = 0; i < 20 && !ended; i++) await fetch(`http://127.0.0.1:${rig.worker.port}/probe`);
  tcp.end = end;
  tcp.end();
  return ended;
}

async function outbox(rig: Rig, deliveries: Parameters<Rig['bus']['outboxes']['append']>[1]): Promise<void> {
  await rig.bus.outboxes.append(await rig.incarnation(), deliveries);
}

const WAYS: [name: string, code: number, go: (rig: Rig, device: string) => Promise<void>][] = [
  ['drain', CLOSE.draining, (rig) => rig.putGateway({ draining: true, revision: 2 })],
  ['scope', CLOSE.outOfScope, (rig) => rig.putGateway({ group: BRANCH, revision: 2, port: rig.worker.port })],
  [
    'balance',
    CLOSE.redirected,
    (rig, id) =>
      outbox(rig, [{ devices: [id], frame: REDIRECT, close: { code: CLOSE.redirected, reason: 'balance' } }]),
  ],
  [
    'balance, with a command just before it',
    CLOSE.redirected,
    (rig, id) =>
      outbox(rig, [
        { devices: [id], frame: encodeGatewayMessage({ t: 'settled', id: 'c1', state: 'succeeded' }) },
        { devices: [id], frame: REDIRECT, close: { code: CLOSE.redirected, reason: 'balance' } },
      ]),
  ],
  [
    'block',
    CLOSE.blocked,
    (rig, id) => outbox(rig, [{ devices: [id], close: { code: CLOSE.blocked, reason: 'blocked' } }]),
  ],
];

for (const [name, code, go] of WAYS) {
  test(`C-6: the gateway ends TCP right after its close frame: ${name}`, () =>
    withRig({ settings: {} }, async (rig) => {
      await rig.putGateway({ name: 'gw2', address: 'ws://gw2.example.net' });
      const identity = await rig.enrol([ROOT]);
      const { device } = await connectDevice(rig.url, identity);
      const atOnce = endsAtOnce(rig, device);
      await go(rig, identity.id);
      assert.ok(await atOnce, 'TCP stayed open');
      assert.is((await device.closed()).code, code);
    }));
}

test.run();
