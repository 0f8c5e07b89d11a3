/** Results and statuses: what is in them, with the device's MAC (R-8, B-5), and bodies that are refused. */
import { Buffer } from 'node:buffer';
import { createHmac } from 'node:crypto';
import {
  type Authenticated,
  encodeDeviceMessage,
  encodeResultBody,
  encodeStatusBody,
  LIMITS,
  RESULT_KEY_BYTES,
  type Result,
  type ResultBody,
  resultBytes,
  type StatusBody,
  statusBytes,
} from '../../protocol/index.ts';
import { DEVICE, NOW, SECRET } from './keys.ts';
import { array, bin, float64, hexOf, map, nested, str, uint64, view } from './wire.ts';

const COMMAND = 'cmd-0001';

const ends: Record<string, ResultBody> = {
  succeeded: { state: 'succeeded', data: { exitStatus: 0, output: 'done\n' } },
  failed: { state: 'failed', reason: 'exit-status', data: { exitStatus: -3 } },
  interrupted: { state: 'failed', reason: 'interrupted' },
  rejected: { state: 'rejected', reason: 'unsupported' },
  canceled: { state: 'canceled' },
  expired: { state: 'expired' },
  'timed-out': { state: 'timed-out' },
  'data of every type': {
    state: 'succeeded',
    data: [
      null,
      true,
      false,
      0,
      -1,
      255,
      65_536,
      2 ** 40,
      1.5,
      'Grüße',
      { nested: [new Uint8Array([1, 2, 3])] },
    ],
  },
};

export function mac(key: Uint8Array, bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHmac('sha512', key).update(bytes).digest().subarray(0, LIMITS.macBytes));
}

const RESULT_KEY = mac(SECRET, RESULT_KEY_BYTES);

export function resultWithBody(command: string, body: Uint8Array): Result {
  return { t: 'result', id: command, body, mac: mac(RESULT_KEY, resultBytes(DEVICE, command, body)) };
}

export function resultOf(command: string, end: ResultBody): Result {
  return resultWithBody(command, encodeResultBody(end));
}

export function namedResult(name: string): Result {
  const end = ends[name];
  if (end === undefined) throw new Error(`no result ${name}`);
  return resultOf(COMMAND, end);
}

function resultVectors() {
  return Object.entries(ends).map(([name, end]) => {
    const result = namedResult(name);
    return {
      name,
      device: DEVICE,
      id: COMMAND,
      end: view(end),
      body: hexOf(result.body),
      authenticatedBytes: hexOf(resultBytes(DEVICE, COMMAND, result.body)),
      mac: hexOf(result.mac),
      frame: hexOf(encodeDeviceMessage(result)),
    };
  });
}

const statuses: Record<string, StatusBody> = {
  'policy and compliance': { number: NOW, policy: 'r42', compliance: 'about-to-be-restricted' },
  'policy alone': { number: 1, policy: 'r42' },
};

export function namedStatus(name: string): Authenticated {
  const status = statuses[name];
  if (status === undefined) throw new Error(`no status ${name}`);
  const body = encodeStatusBody(status);
  return { body, mac: mac(RESULT_KEY, statusBytes(DEVICE, body)) };
}

function statusVectors() {
  return Object.entries(statuses).map(([name, status]) => {
    const { body, mac } = namedStatus(name);
    return {
      ...{ name, device: DEVICE, status: view(status), body: hexOf(body) },
      authenticatedBytes: hexOf(statusBytes(DEVICE, body)),
      mac: hexOf(mac),
      frame: hexOf(encodeDeviceMessage({ t: 'beat', status: { body, mac } })),
    };
  });
}

const long = (length: number): string => `da${length.toString(16).padStart(4, '0')}${'61'.repeat(length)}`;
const state = { state: str('succeeded') };

const refused: [rule: string, name: string, body: string][] = [
  ['F-2', 'an array', array(str('succeeded'))],
  ['F-2', 'something after the map', `${map(state)}00`],
  ['F-4', 'data nested too deeply', map({ ...state, data: nested(LIMITS.depth + 1) })],
  ['F-4', 'a timestamp', map({ ...state, data: 'd6ff6a000000' })],
  ['F-5', 'NaN', map({ ...state, data: 'cb7ff8000000000000' })],
  ['F-5', 'an infinity', map({ ...state, data: 'ca7f800000' })],
  ['F-5', 'an integer of 2^53', map({ ...state, data: uint64(2n ** 53n) })],
  ['F-5', 'an integer of -2^53', map({ ...state, data: 'd3ffe0000000000000' })],
  ['F-6', 'no state', map({ reason: str('why') })],
  ['F-6', 'a state that is nil', map({ state: 'c0' })],
  ['F-6', 'an unknown state', map({ state: str('done') })],
  ['F-6', "a state that is not a device's to give", map({ state: str('superseded') })],
  ['F-6', 'a reason of 513 characters', map({ ...state, reason: long(513) })],
  ['F-6', 'a reason that is binary', map({ ...state, reason: bin(new Uint8Array(2)) })],
  ['F-6', 'a reason that is not UTF-8', map({ ...state, reason: 'd902fffe' })],
  ['F-6', 'text in data that is not UTF-8', map({ ...state, data: array(map({ a: 'db00000002fffe' })) })],
  ['F-6', 'a key in data that is not UTF-8', map({ ...state, data: '81a2fffec0' })],
  [
    'R-4',
    'a body of 33,793 bytes',
    map({ ...state, data: `c5${(33_771).toString(16)}${'00'.repeat(33_771)}` }),
  ],
];

const number = { number: '01' };

const refusedStatuses: [rule: string, name: string, body: string][] = [
  ['F-2', 'an array', array(str('r42'))],
  ['F-3', 'a body of 513 bytes', map({ ...number, x: `c501f4${'00'.repeat(501)}` })],
  ['F-5', 'no number', map({ policy: str('r42') })],
  ['F-5', 'the number 0', map({ number: '00' })],
  ['F-5', 'a number of 2^53', map({ number: uint64(2n ** 53n) })],
  ['F-6', 'a policy of 65 characters', map({ ...number, policy: long(65) })],
  ['F-6', 'a policy that is not UTF-8', map({ ...number, policy: 'da0002fffe' })],
  ['F-6', 'an unknown compliance', map({ ...number, compliance: str('fine') })],
];

const alsoReadStatuses: [name: string, body: string, status: StatusBody][] = [
  [
    'F-5: a number as a float',
    map({ number: float64(NOW), policy: str('r42') }),
    { number: NOW, policy: 'r42' },
  ],
  ['F-6: optional fields that are nil', map({ ...number, policy: 'c0', compliance: 'c0' }), { number: 1 }],
  ['V-2: an unknown field', map({ ...number, colour: str('red') }), { number: 1 }],
];

const alsoRead: [name: string, body: string, end: ResultBody][] = [
  [
    'F-5: a float beyond 2^53 is no integer',
    map({ ...state, data: float64(2 ** 60) }),
    { state: 'succeeded', data: 2 ** 60 },
  ],
  ['F-6: optional fields that are nil', map({ ...state, reason: 'c0', data: 'c0' }), { state: 'succeeded' }],
  ['V-2: an unknown field', map({ ...state, colour: str('red') }), { state: 'succeeded' }],
];

export function resultVectorsAll() {
  return {
    resultKey: {
      secret: hexOf(SECRET),
      key: hexOf(RESULT_KEY),
      secretBase64url: Buffer.from(SECRET).toString('base64url'),
    },
    results: resultVectors(),
    resultBodies: alsoRead.map(([name, body, end]) => ({ name, body, end: view(end) })),
    refusedResultBodies: refused.map(([rule, name, body]) => ({ name, rule, body })),
    statuses: statusVectors(),
    statusBodies: alsoReadStatuses.map(([name, body, status]) => ({ name, body, status: view(status) })),
    refusedStatusBodies: refusedStatuses.map(([rule, name, body]) => ({ name, rule, body })),
  };
}
