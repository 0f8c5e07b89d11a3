/**
 * Frames that end a connection, each with the rule it breaks: a gateway closes with 4400, a device with 1002.
 */
import { CLOSE, LIMITS } from '../../protocol/index.ts';
import { DEVICE, NONCE, NOW } from './keys.ts';
import { array, bin, float64, long, many, map, nested, str, uint64 } from './wire.ts';

const SIG = new Uint8Array(LIMITS.signatureBytes);

const prove = {
  t: str('prove'),
  device: str(DEVICE),
  sig: bin(SIG),
  software: str('example 1.0'),
  caps: array(str('sync')),
  membership: array('00', '00'),
  keys: array('00', '00'),
  gateways: array('00', '00'),
};
const result = {
  t: str('result'),
  id: str('cmd-0001'),
  body: bin(new Uint8Array([0x80])),
  mac: bin(new Uint8Array(32)),
};
const status = { body: result.body, mac: result.mac };
const progress = { t: str('progress'), id: str('cmd-0001') };
const ack = { t: str('ack'), id: str('cmd-0001') };
const challenge = {
  t: str('challenge'),
  nonce: bin(NONCE),
  gateway: str('gw1'),
  installation: str('i7Kq'),
  time: float64(NOW),
};
const gateway = str('gw1');
const address = map({ name: gateway, url: str('wss://gw1.example.net:13295') });
const welcome = {
  t: str('welcome'),
  session: '01',
  time: float64(NOW),
  heartbeatMs: float64(60_000),
  gateways: array(gateway),
};
const order = { t: str('order'), body: bin(new Uint8Array([0x80])), sig: bin(SIG) };
const key = {
  t: str('key'),
  group: str('berlin'),
  epoch: '01',
  number: '01',
  nonce: bin(new Uint8Array(12)),
  ct: bin(new Uint8Array(48)),
};
const redirect = { t: str('redirect'), to: array(gateway), reason: str('drain'), withinMs: '00' };

const device: [rule: string, name: string, hex: string][] = [
  ['F-2', 'nothing', ''],
  ['F-2', 'an array', array(str('ack'))],
  ['F-2', 'text', str('ack')],
  ['F-2', 'something after the map', `${map(ack)}00`],
  ['F-2', 'two maps', map(ack).repeat(2)],
  ['F-2', 'cut short', map(ack).slice(0, -2)],
  ['F-2', 'a map that claims 2^32 - 1 entries', 'dfffffffff'],
  ['F-2', 'binary that claims 2^32 - 1 bytes', `81${str('t')}c6ffffffff`],
  ['F-4', 'a timestamp', map({ ...ack, at: 'd6ff6a000000' })],
  ['F-4', 'an extension type', map({ ...ack, at: 'd40100' })],
  ['F-4', 'the byte c1', map({ ...ack, at: 'c1' })],
  ['F-4', 'a key that is a number', '8101c0'],
  ['F-4', 'a key that is nil', '81c0c0'],
  ['F-4', 'an unknown field nested too deeply', map({ ...ack, x: nested(LIMITS.depth + 1) })],
  ['F-5', 'a negative revision', map({ ...prove, membership: array('00', 'ff') })],
  ['F-5', 'a fractional revision', map({ ...prove, membership: array('01', float64(1.5)) })],
  ['F-5', 'a percentage above 100', map({ ...progress, percent: '65' })],
  [
    'F-5',
    'a float of 2^53 where an integer is due',
    map({ ...prove, membership: array('01', float64(2 ** 53)) }),
  ],
  ['F-6', 'an edition that is an integer', map({ ...prove, membership: '03' })],
  ['F-6', 'an edition of server keys that is missing', map({ ...prove, keys: 'c0' })],
  ['F-6', 'an edition of the list that is missing', map({ ...prove, gateways: 'c0' })],
  ['F-6', 'an edition of three', map({ ...prove, membership: array('01', '03', '00') })],
  ['F-5', 'a revision that is text', map({ ...prove, membership: array('01', str('3')) })],
  ['F-5', 'a percentage that is true', map({ ...progress, percent: 'c3' })],
  ['F-6', 't that is a number', map({ t: '01' })],
  ['F-6', 'an id that is a number', map({ ...ack, id: '01' })],
  ['F-6', 'capabilities that are text', map({ ...prove, caps: str('sync') })],
  ['F-6', 'a capability that is a number', map({ ...prove, caps: array('01') })],
  ['F-6', 'a distance that is text', map({ t: str('beat'), measured: array(str('gw1')) })],
  ['F-6', 'no t', map({ id: str('cmd-0001') })],
  ['F-6', 't of 33 characters', map({ t: long(33) })],
  ['F-6', 'no id', map({ t: str('ack') })],
  ['F-6', 'an id with a slash', map({ ...ack, id: str('a/b') })],
  ['F-6', 'an id of 65 characters', map({ ...ack, id: long(65) })],
  ['F-6', 'a signature of 63 bytes', map({ ...prove, sig: bin(SIG.subarray(1)) })],
  ['F-6', 'a signature that is text', map({ ...prove, sig: long(64) })],
  ['F-6', 'software of 65 characters', map({ ...prove, software: long(65) })],
  ['F-6', '33 capabilities', map({ ...prove, caps: many(33, str('a')) })],
  ['F-6', 'a capability of 65 characters', map({ ...prove, caps: array(long(65)) })],
  ['F-6', 'a status that is text', map({ t: str('beat'), status: str('r42') })],
  ['F-6', 'a status without a mac', map({ t: str('beat'), status: map({ body: result.body }) })],
  ['F-6', 'a status with an empty body', map({ t: str('beat'), status: map({ ...status, body: 'c400' }) })],
  [
    'F-6',
    'a status of 513 bytes',
    map({ t: str('beat'), status: map({ ...status, body: `c50201${'00'.repeat(513)}` }) }),
  ],
  ['F-6', '17 distances', map({ t: str('beat'), measured: many(17, map({ name: str('gw1'), ms: '00' })) })],
  ['F-6', 'a distance without a name', map({ t: str('beat'), measured: array(map({ ms: '00' })) })],
  [
    'F-5',
    'a negative distance',
    map({ t: str('beat'), measured: array(map({ name: str('gw1'), ms: 'ff' })) }),
  ],
  [
    'F-5',
    'a distance above a minute',
    map({ t: str('beat'), measured: array(map({ name: str('gw1'), ms: float64(60_001) })) }),
  ],
  ['F-5', 'NaN in an unknown field', map({ ...ack, x: 'cb7ff8000000000000' })],
  ['F-5', 'an infinity in an unknown field', map({ ...ack, x: 'ca7f800000' })],
  ['F-5', 'an integer of 2^53 in an unknown field', map({ ...ack, x: uint64(2n ** 53n) })],
  ['F-5', 'an integer of -2^53 in an unknown field', map({ ...ack, x: 'd3ffe0000000000000' })],
  ['F-6', 'a result without a body', map({ t: result.t, id: result.id, mac: result.mac })],
  ['F-6', 'a result with an empty body', map({ ...result, body: bin(new Uint8Array(0)) })],
  ['F-6', 'a body of 33,793 bytes', map({ ...result, body: `c58401${'00'.repeat(33_793)}` })],
  ['F-6', 'a body that is a map', map({ ...result, body: map({ state: str('succeeded') }) })],
  ['F-6', 'a result without a mac', map({ t: result.t, id: result.id, body: result.body })],
  ['F-6', 'a mac of 31 bytes', map({ ...result, mac: bin(new Uint8Array(31)) })],
  ['F-6', 'a want without a group', map({ t: str('want'), epoch: '01', number: '01' })],
  ['F-5', 'a want of epoch 0', map({ t: str('want'), group: str('berlin'), epoch: '00', number: '01' })],
  ['F-5', 'a want without a number', map({ t: str('want'), group: str('berlin'), epoch: '01' })],
  ['F-6', 'a note of 257 characters', map({ ...progress, note: long(257) })],
  ['F-6', 'a note that is not UTF-8', map({ ...progress, note: 'a2fffe' })],
  ['F-6', 'an unknown field with text32 that is not UTF-8', map({ ...ack, x: 'db00000002fffe' })],
  ['F-6', 'software with text8 that is not UTF-8', map({ ...prove, software: 'd902fffe' })],
  ['F-6', 'a key that is not UTF-8', `83${str('t')}${str('ack')}${str('id')}${str('cmd-0001')}a2fffec0`],
  ['F-6', 'an unknown field that is not UTF-8', map({ ...ack, x: 'a2fffe' })],
  ['F-6', 'a character cut short', map({ ...progress, note: 'a2e282' })],
  ['F-6', 'an overlong character', map({ ...progress, note: 'a2c080' })],
  ['F-6', 'half of a pair as a character', map({ ...progress, note: 'a3eda080' })],
  ['F-6', 'a character above U+10FFFF', map({ ...progress, note: 'a4f4908080' })],
];

const beat = { t: str('beat'), time: float64(NOW) };
const fromGateway: typeof device = [
  ['F-2', 'an array', array(str('beat'))],
  ['F-5', 'a time that is text', map({ t: str('beat'), time: str('now') })],
  ['F-5', 'no time', map({ t: str('beat') })],
  ['F-6', '33 settled commands', map({ ...beat, settled: many(33, str('cmd-0001')) })],
  ['F-6', 'settled that is text', map({ ...beat, settled: str('cmd-0001') })],
  ['F-6', 'a settled command without a name', map({ ...beat, settled: array(str('')) })],
  ['F-5', 'a heartbeat interval below a second', map({ ...welcome, heartbeatMs: '01' })],
  ['F-5', 'a heartbeat interval above 15 minutes', map({ ...welcome, heartbeatMs: float64(900_001) })],
  ['F-6', 'a nonce of 31 bytes', map({ ...challenge, nonce: bin(NONCE.subarray(1)) })],
  ['F-6', 'a gateway without a name', map({ ...challenge, gateway: str('') })],
  [
    'F-6',
    'a challenge that names no installation',
    map({ t: challenge.t, nonce: challenge.nonce, gateway: challenge.gateway, time: challenge.time }),
  ],
  ['F-6', 'a pass that is text', map({ ...welcome, pass: str('gw1') })],
  ['F-6', 'a pass without a signature', map({ t: str('pass'), body: bin(new Uint8Array(9)) })],
  ['F-6', 'a pass of 513 bytes', map({ t: str('pass'), body: `c50201${'00'.repeat(513)}`, sig: bin(SIG) })],
  ['F-6', '33 gateways', map({ ...welcome, gateways: many(33, gateway) })],
  ['F-6', 'a gateway with an address', map({ t: str('update'), gateways: array(address) })],
  ['F-6', 'an address in place of a name', map({ t: str('update'), gateways: array(str('ws://gw1')) })],
  ['F-6', 'a redirect to an address', map({ ...redirect, to: array(address) })],
  ['F-6', 'an order without a body', map({ ...order, body: bin(new Uint8Array(0)) })],
  ['F-6', 'an order signed with 65 bytes', map({ ...order, sig: bin(new Uint8Array(65)) })],
  ['F-6', 'a key of 31 bytes', map({ ...key, ct: bin(new Uint8Array(47)) })],
  [
    'F-6',
    'a key without a nonce',
    map({ t: key.t, group: key.group, epoch: '01', number: '01', ct: key.ct }),
  ],
  ['F-5', 'a key with number 0', map({ ...key, number: '00' })],
  ['F-6', 'a reason of 33 characters', map({ ...redirect, reason: long(33) })],
  ['F-6', 'a reason that is not UTF-8', map({ ...redirect, reason: 'a2fffe' })],
  ['F-6', 'a name that is not UTF-8', map({ t: str('update'), gateways: array('a2fffe') })],
  ['F-5', 'a negative withinMs', map({ ...redirect, withinMs: 'ff' })],
];

export function refusedVectors() {
  const vector = (from: 'device' | 'gateway', [rule, name, hex]: (typeof device)[number]) => ({
    name,
    from,
    rule,
    closeCode: from === 'device' ? CLOSE.protocolError : 1002,
    hex,
  });
  return [
    ...device.map((entry) => vector('device', entry)),
    ...fromGateway.map((entry) => vector('gateway', entry)),
  ];
}
