/** Golden frames: every message in both directions, as we write it and as others may. */
import {
  type DeviceMessage,
  encodeDeviceMessage,
  encodeGatewayMessage,
  type GatewayMessage,
  proofBytes,
} from '../../protocol/index.ts';
import { DEVICE, DEVICE_KEY, GATEWAY, INSTALLATION, NAMES, NONCE, NOW, signWith } from './keys.ts';
import { signedOrder, signedPass } from './orders.ts';
import { namedResult, namedStatus } from './results.ts';
import { secretResult, WANT, wantedKey } from './secrets.ts';
import { firstServerKeys, nextRootServerKeys } from './server-keys.ts';
import { array, bin, float32, float64, hexOf, map, str, uint64, view } from './wire.ts';

const COMMAND = 'cmd-0001';
const proof = signWith(DEVICE_KEY, proofBytes(NONCE, GATEWAY, DEVICE));
const caps = ['sync', 'task.start', 'task.stop'];

const fromDevice: [string, DeviceMessage][] = [
  [
    'prove',
    {
      t: 'prove',
      device: DEVICE,
      sig: proof,
      software: 'example 1.0',
      caps,
      membership: [0, 0],
      keys: [0, 0],
      gateways: [0, 0],
    },
  ],
  ['beat with nothing new', { t: 'beat' }],
  ['beat that asks for the pass', { t: 'beat', pass: true }],
  ['beat with a status', { t: 'beat', status: namedStatus('policy and compliance') }],
  [
    'beat with distances',
    {
      t: 'beat',
      measured: [
        { name: GATEWAY, ms: 0 },
        { name: 'gw2', ms: 60_000 },
      ],
    },
  ],
  ['beat that says nothing could be measured', { t: 'beat', measured: [] }],
  ['ack', { t: 'ack', id: COMMAND }],
  ['progress with nothing', { t: 'progress', id: COMMAND }],
  ['progress with everything', { t: 'progress', id: COMMAND, percent: 40, note: '4 of 10 files' }],
  ['result', namedResult('succeeded')],
  ['result of a secret command', secretResult('cmd-0007')],
  ['want', WANT],
  ['result with data of every type', namedResult('data of every type')],
];

const fromGateway: [string, GatewayMessage][] = [
  ['challenge', { t: 'challenge', nonce: NONCE, gateway: GATEWAY, installation: INSTALLATION, time: NOW }],
  ['welcome', { t: 'welcome', session: 7, time: NOW, heartbeatMs: 60_000, gateways: NAMES }],
  [
    'H-6: welcome with a session above 2^32',
    { t: 'welcome', session: 2 ** 32 + 7, time: NOW, heartbeatMs: 60_000, gateways: NAMES },
  ],
  [
    'welcome with a pass',
    { t: 'welcome', session: 9, time: NOW, heartbeatMs: 60_000, pass: signedPass(), gateways: NAMES },
  ],
  ['pass', { t: 'pass', ...signedPass() }],
  ['keys', { t: 'keys', ...firstServerKeys() }],
  ['keys with another root', { t: 'keys', ...nextRootServerKeys() }],
  ['welcome without gateways', { t: 'welcome', session: 8, time: NOW, heartbeatMs: 1_000, gateways: [] }],
  ['beat', { t: 'beat', time: NOW + 60_000 }],
  ['B-2: beat that settles two commands', { t: 'beat', settled: [COMMAND, 'cmd-0002'], time: NOW + 60_000 }],
  ['order with a command', { t: 'order', ...signedOrder('command for a device') }],
  ['order with a secret command for a device', { t: 'order', ...signedOrder('secret command for a device') }],
  ['order with a secret command for a group', { t: 'order', ...signedOrder('secret command for a group') }],
  ['key', wantedKey()],
  ['order with a membership', { t: 'order', ...signedOrder('membership') }],
  ['order with a list of gateways', { t: 'order', ...signedOrder('list of gateways') }],
  ['settled', { t: 'settled', id: COMMAND, state: 'succeeded' }],
  ['settled, superseded', { t: 'settled', id: COMMAND, state: 'superseded' }],
  ['settled, unknown', { t: 'settled', id: COMMAND, state: 'unknown' }],
  ['keep', { t: 'keep', id: COMMAND, retryMs: 30_000 }],
  ['update', { t: 'update', gateways: NAMES }],
  ['update without gateways', { t: 'update', gateways: [] }],
  ['redirect', { t: 'redirect', to: NAMES.slice(1), reason: 'drain', withinMs: 30_000 }],
  ['redirect to anywhere', { t: 'redirect', to: [], reason: 'balance', withinMs: 0 }],
];

type From = 'device' | 'gateway';
const other = (from: From, name: string, hex: string, message: object | null) => ({
  name,
  from,
  hex,
  message: message === null ? null : view(message),
});

const ack = { t: 'ack', id: COMMAND };
const time = { t: 'beat', time: NOW };
const prove = {
  t: 'prove',
  device: DEVICE,
  sig: proof,
  software: 'example 1.0',
  caps: ['sync'],
  membership: [1, 3],
  keys: [1, 2],
  gateways: [1, 5],
};
const proveFields = {
  t: str('prove'),
  device: str(DEVICE),
  sig: bin(proof),
  software: str('example 1.0'),
  caps: array(str('sync')),
  keys: array('01', '02'),
  gateways: array('01', '05'),
};

/** `message` is `null` where the frame is skipped (V-2). */
export function frameVectors() {
  return {
    written: [
      ...fromDevice.map(([name, message]) =>
        other('device', name, hexOf(encodeDeviceMessage(message)), message),
      ),
      ...fromGateway.map(([name, message]) =>
        other('gateway', name, hexOf(encodeGatewayMessage(message)), message),
      ),
    ],
    alsoRead: [
      other(
        'device',
        'F-5: an integer as float64',
        map({ ...proveFields, membership: array(float64(1), float64(3)) }),
        prove,
      ),
      other(
        'device',
        'F-5: an integer as float32',
        map({ ...proveFields, membership: array('01', float32(3)) }),
        prove,
      ),
      other(
        'device',
        'F-5: an integer as uint64',
        map({ ...proveFields, membership: array('01', uint64(3n)) }),
        prove,
      ),
      other('gateway', 'F-5: a time as float64', map({ t: str('beat'), time: float64(NOW) }), time),
      other('gateway', 'F-5: a time as uint64', map({ t: str('beat'), time: uint64(BigInt(NOW)) }), time),
      other('gateway', 'F-5: the largest integer', map({ t: str('beat'), time: uint64(2n ** 53n - 1n) }), {
        t: 'beat',
        time: Number.MAX_SAFE_INTEGER,
      }),
      other(
        'gateway',
        'H-6: a session above 2^32 as uint64',
        map({
          t: str('welcome'),
          session: uint64(2n ** 32n + 7n),
          time: float64(NOW),
          heartbeatMs: float64(60_000),
          gateways: array(),
        }),
        { t: 'welcome', session: 2 ** 32 + 7, time: NOW, heartbeatMs: 60_000, gateways: [] },
      ),
      other(
        'device',
        'H-3: displaced that is not true says nothing',
        map({ ...proveFields, membership: array('01', '03'), displaced: '01' }),
        prove,
      ),
      other(
        'gateway',
        'G-3: a reason of a later version',
        map({ t: str('redirect'), to: array(), reason: str('weather'), withinMs: '00' }),
        { t: 'redirect', to: [], reason: 'weather', withinMs: 0 },
      ),
      other(
        'device',
        'F-4: a key twice, the last one counts',
        `83${str('t')}${str('ack')}${str('id')}${str('cmd-0009')}${str('id')}${str(COMMAND)}`,
        ack,
      ),
      other('device', 'F-4: keys in another order', map({ id: str(COMMAND), t: str('ack') }), ack),
      other(
        'device',
        'F-6: optional fields that are nil',
        map({ t: str('beat'), status: 'c0', measured: 'c0' }),
        {
          t: 'beat',
        },
      ),
      other(
        'device',
        'V-2: an unknown field',
        map({ t: str('ack'), id: str(COMMAND), colour: array('01', '02') }),
        ack,
      ),
      other(
        'gateway',
        'V-2: an unknown field',
        map({ t: str('beat'), time: float64(NOW), mood: str('fine') }),
        time,
      ),
      other(
        'gateway',
        'B-2: nothing settled',
        map({ t: str('beat'), time: float64(NOW), settled: 'c0' }),
        time,
      ),
      other('device', 'V-2: an unknown message', map({ t: str('sing'), id: '01' }), null),
      other('gateway', 'V-2: an unknown message', map({ t: str('sing'), id: '01' }), null),
      other(
        'device',
        'F-2: map32 and str32',
        'df00000002db00000001' + '74' + 'db0000000361636b' + 'd9026964' + 'da0008636d642d30303031',
        ack,
      ),
    ],
  };
}
