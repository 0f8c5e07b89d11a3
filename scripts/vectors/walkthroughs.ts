/** Whole conversations frame by frame; PROTOCOL.md shows the same ones. */
import {
  type DeviceMessage,
  type Edition,
  encodeDeviceMessage,
  encodeGatewayMessage,
  type GatewayMessage,
  proofBytes,
} from '../../protocol/index.ts';
import { DEVICE, DEVICE_KEY, GATEWAY, INSTALLATION, NAMES, NONCE, NOW, signWith } from './keys.ts';
import { signedOrder } from './orders.ts';
import { resultOf } from './results.ts';
import { secretResult, WANT, wantedKey } from './secrets.ts';
import { hexOf, view } from './wire.ts';

type Step = { from: 'gateway'; message: GatewayMessage } | { from: 'device'; message: DeviceMessage };

const gateway = (message: GatewayMessage): Step => ({ from: 'gateway', message });
const device = (message: DeviceMessage): Step => ({ from: 'device', message });

interface Held {
  membership: Edition;
  gateways: Edition;
}

function handshake(nonce: Uint8Array, time: number, session: number, held: Held): Step[] {
  const sig = signWith(DEVICE_KEY, proofBytes(nonce, GATEWAY, DEVICE));
  const caps = ['sync', 'task.start', 'task.stop'];
  return [
    gateway({ t: 'challenge', nonce, gateway: GATEWAY, installation: INSTALLATION, time }),
    device({ t: 'prove', device: DEVICE, sig, software: 'example 1.0', caps, ...held, keys: [1, 1] }),
    gateway({ t: 'welcome', session, time, heartbeatMs: 60_000, gateways: NAMES }),
  ];
}

const SECOND_NONCE = NONCE.map((value) => value ^ 0xff);

const walkthroughs: [name: string, steps: Step[]][] = [
  [
    'handshake',
    [
      ...handshake(NONCE, NOW, 7, { membership: [0, 0], gateways: [0, 0] }),
      gateway({ t: 'order', ...signedOrder('membership') }),
      gateway({ t: 'order', ...signedOrder('list of gateways') }),
    ],
  ],
  [
    'forced sync',
    [
      gateway({ t: 'order', ...signedOrder('command for a group') }),
      device({ t: 'ack', id: 'cmd-0002' }),
      device({ t: 'progress', id: 'cmd-0002', percent: 50 }),
      device(resultOf('cmd-0002', { state: 'succeeded', data: { revision: 'r43' } })),
      device({ t: 'beat' }),
      gateway({ t: 'beat', settled: ['cmd-0002'], time: NOW + 60_000 }),
    ],
  ],
  [
    'forced sync that ends at once',
    [
      gateway({ t: 'order', ...signedOrder('command for a group') }),
      device(resultOf('cmd-0002', { state: 'succeeded', data: { revision: 'r43' } })),
      device({ t: 'beat' }),
      gateway({ t: 'beat', settled: ['cmd-0002'], time: NOW + 60_000 }),
    ],
  ],
  [
    'connection lost and resumed',
    [
      gateway({ t: 'order', ...signedOrder('command for a device') }),
      device({ t: 'ack', id: 'cmd-0001' }),
      ...handshake(SECOND_NONCE, NOW + 30_000, 8, { membership: [1, 3], gateways: [1, 5] }),
      device(resultOf('cmd-0001', { state: 'succeeded', data: { exitStatus: 0 } })),
      gateway({ t: 'order', ...signedOrder('command for a device') }),
      device(resultOf('cmd-0001', { state: 'succeeded', data: { exitStatus: 0 } })),
      gateway({ t: 'settled', id: 'cmd-0001', state: 'succeeded' }),
    ],
  ],
  [
    'secret command for a group',
    [
      gateway({ t: 'order', ...signedOrder('secret command for a group') }),
      device({ t: 'ack', id: 'cmd-0007' }),
      device(WANT),
      gateway(wantedKey()),
      device(secretResult('cmd-0007')),
      device({ t: 'beat' }),
      gateway({ t: 'beat', settled: ['cmd-0007'], time: NOW + 60_000 }),
    ],
  ],
];

export function walkthroughVectors() {
  return walkthroughs.map(([name, steps]) => ({
    name,
    frames: steps.map(({ from, message }) => ({
      name: message.t,
      from,
      hex: hexOf(from === 'device' ? encodeDeviceMessage(message) : encodeGatewayMessage(message)),
      message: view(message),
    })),
  }));
}
