import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  decodeLegGatewayMessage,
  decodeLegMessage,
  decodeTunnelFrame,
  encodeCredit,
  encodeFin,
  encodeHello,
  encodeOpen,
  encodeOpened,
  encodeReceived,
  encodeReset,
  encodeTunnelMessage,
  LIMITS,
  RESET_CODES,
  SEAL_COUNTER_BYTES,
  TUNNEL_CLOSE,
  TUNNEL_LIMITS,
  TUNNEL_PATH,
  TUNNEL_REFUSALS,
  TUNNEL_SUBPROTOCOL,
  TunnelError,
  type TunnelFrame,
  writeDataHeader,
} from '../../protocol/index.ts';
import { documentText, fromHex, toHex, toView, vectors } from './vectors-file.ts';

const far = 2 ** 40 + 5;

function dataFrame(stream: number, offset: number, bytes: Uint8Array): Uint8Array {
  const frame = new Uint8Array(13 + bytes.length);
  writeDataHeader(frame, stream, offset);
  frame.set(bytes, 13);
  return frame;
}

const frames: [string, Uint8Array, TunnelFrame][] = [
  [
    '0100000000010000000200040000000000090000000301000000000000000a0000010000000005',
    encodeHello({
      pair: 2,
      window: 262_144,
      highest: 9,
      streams: [{ stream: 3, opened: true, received: 10, credit: far }],
    }),
    {
      type: 'hello',
      version: 1,
      pair: 2,
      window: 262_144,
      highest: 9,
      streams: [{ stream: 3, opened: true, received: 10, credit: far }],
    },
  ],
  [
    '020000000100163132372e302e302e31',
    encodeOpen(1, '127.0.0.1', 22),
    { type: 'open', stream: 1, host: '127.0.0.1', port: 22 },
  ],
  ['03fffffffe', encodeOpened(2 ** 32 - 2), { type: 'opened', stream: 2 ** 32 - 2 }],
  [
    '040000000100000100000000056162',
    dataFrame(1, far, fromHex('6162')),
    { type: 'data', stream: 1, offset: far, bytes: fromHex('6162') },
  ],
  ['05000000010000010000000005', encodeCredit(1, far), { type: 'credit', stream: 1, offset: far }],
  ['06000000010000010000000005', encodeFin(1, far), { type: 'fin', stream: 1, offset: far }],
  [
    '0700000001026e6f',
    encodeReset(1, 'unreachable', 'no'),
    { type: 'reset', stream: 1, code: 'unreachable', reason: 'no' },
  ],
  ['08000000000000010000000005', encodeReceived(far), { type: 'received', bytes: far }],
];

test('T-6: every frame is written as the table says, and read again', () => {
  for (const [hex, frame, meaning] of frames) {
    assert.is(toHex(frame), hex);
    assert.equal(decodeTunnelFrame(frame), meaning);
    assert.equal(decodeTunnelFrame(Buffer.concat([Buffer.alloc(3), frame]).subarray(3)).type, meaning.type);
  }
});

test('T-6: bytes that are no frame are refused', () => {
  const wrong = [
    '',
    '04',
    '0400000001',
    '04000000010000000000000000',
    '04000000000000000000000000ff',
    '0400000001ffffffffffffffff00',
    '0100000001010000000100040000000000ff',
    '010000000001000000010004000000000000ff',
    '0200000001',
    '020000000100006162',
    '0200000001001680',
    '030000000100',
    '050000000100000000000000',
    '0700000001',
    '0900000001',
    '0000000001',
    '08000000010000000000000001',
  ];
  for (const hex of wrong) {
    assert.throws(
      () => decodeTunnelFrame(fromHex(hex)),
      (error: unknown) => error instanceof TunnelError && error.rule === 'T-6',
      hex,
    );
  }
  const long = dataFrame(1, 0, new Uint8Array(TUNNEL_LIMITS.dataBytes + 1));
  assert.throws(() => decodeTunnelFrame(long));
  assert.is(decodeTunnelFrame(long.subarray(0, -1)).type, 'data');
});

test('T-6: the vectors are read as they say', () => {
  for (const { name, hex, frame } of vectors.tunnelFrames) {
    assert.equal(toView(decodeTunnelFrame(fromHex(hex))), frame, name);
  }
  for (const { name, hex, rule } of vectors.refusedTunnelFrames) {
    assert.throws(
      () => decodeTunnelFrame(fromHex(hex)),
      (error: unknown) => error instanceof TunnelError && error.rule === rule,
      name,
    );
  }
});

test('T-11: a reason that is too long is cut, and codes of later versions are read', () => {
  const reset = decodeTunnelFrame(encodeReset(1, 'refused', 'ü'.repeat(300)));
  assert.ok(reset.type === 'reset' && reset.reason === 'ü'.repeat(128));
  const odd = decodeTunnelFrame(encodeReset(1, 'refused', `a${'ü'.repeat(300)}`));
  assert.ok(odd.type === 'reset' && odd.reason === `a${'ü'.repeat(127)}`, 'no half of a character is left');
  const later = decodeTunnelFrame(fromHex('070000000163'));
  assert.equal(later, { type: 'reset', stream: 1, code: 'unknown', reason: '' });
});

test('T-2, T-3, T-4, T-5: leg and gateway read messages strictly, and skip those of later versions', () => {
  const secret = 'x'.repeat(43);
  const who = { tunnel: 'tun-1', worker: 3, side: 'device' as const };
  for (const message of [
    { t: 'join' as const, ...who, ticket: secret },
    { t: 'resume' as const, ...who, secret },
    { t: 'ping' as const },
    { t: 'pong' as const },
    { t: 'stats' as const, streams: 3 },
    { t: 'end' as const, reason: 'done' },
  ]) {
    assert.equal(decodeLegMessage(encodeTunnelMessage(message)), message);
  }
  for (const message of [
    { t: 'joined' as const, resume: secret, idleMs: 1, lifeMs: 2, maxBytes: 0 },
    { t: 'refused' as const, reason: 'bad-ticket' },
    { t: 'peer' as const, here: true, pair: 1 },
    { t: 'ping' as const },
    { t: 'pong' as const },
    { t: 'move' as const, withinMs: 30_000 },
    { t: 'end' as const, reason: 'idle' },
  ]) {
    assert.equal(decodeLegGatewayMessage(encodeTunnelMessage(message)), message);
  }
  assert.is(decodeLegMessage('{"t":"later"}'), null);
  assert.is(decodeLegGatewayMessage('{"t":"later","x":1}'), null);
  const wrong = [
    '',
    'null',
    '[]',
    '{}',
    '{"t":1}',
    JSON.stringify({ t: 'join', ...who, ticket: 'short' }),
    JSON.stringify({ t: 'join', ...who, side: 'both', ticket: secret }),
    JSON.stringify({ t: 'join', ...who, worker: -1, ticket: secret }),
    JSON.stringify({ t: 'join', ...who, tunnel: '../x', ticket: secret }),
    JSON.stringify({ t: 'stats', streams: 1.5 }),
    JSON.stringify({ t: 'end', reason: 'x'.repeat(257) }),
  ];
  for (const text of wrong)
    assert.throws(
      () => decodeLegMessage(text),
      (error: unknown) => error instanceof TunnelError,
      text,
    );
  assert.throws(() => decodeLegGatewayMessage('{"t":"peer","here":1,"pair":1}'));
  assert.throws(() =>
    decodeLegGatewayMessage('{"t":"joined","resume":"","idleMs":1,"lifeMs":1,"maxBytes":0}'),
  );
});

test('T-6, T-14: the longest frame fits into a message once it is sealed', () => {
  assert.is(TUNNEL_LIMITS.frameBytes + TUNNEL_LIMITS.sealBytes, TUNNEL_LIMITS.messageBytes);
  assert.is(SEAL_COUNTER_BYTES + LIMITS.sealTagBytes, TUNNEL_LIMITS.sealBytes);
  assert.ok(dataFrame(1, 0, new Uint8Array(TUNNEL_LIMITS.dataBytes)).length <= TUNNEL_LIMITS.frameBytes);
});

test('T-1, T-3, T-5, T-11: the document has the words, codes and bounds of the code', () => {
  const start = documentText.indexOf('\n## T Tunnels\n');
  const section = documentText.slice(start, documentText.indexOf('\n## ', start + 1));
  assert.ok(section.includes(`\`${TUNNEL_PATH}\``) && section.includes(`\`${TUNNEL_SUBPROTOCOL}\``));
  for (const word of [...TUNNEL_REFUSALS, 'forged']) {
    if (word !== 'protocol') assert.ok(section.includes(`\`${word}\``), word);
  }
  for (const [name, code] of Object.entries(TUNNEL_CLOSE)) {
    assert.ok(section.includes(`| ${code} | \`${name}\` |`), name);
  }
  assert.equal(Object.values(RESET_CODES), [1, 2, 3, 4, 5]);
  const plain = section.replaceAll(',', '');
  for (const bound of [
    TUNNEL_LIMITS.frameBytes,
    TUNNEL_LIMITS.messageBytes,
    TUNNEL_LIMITS.dataBytes,
    TUNNEL_LIMITS.textBytes,
    TUNNEL_LIMITS.streamWindow,
    TUNNEL_LIMITS.tunnelWindow,
  ]) {
    assert.ok(plain.includes(String(bound)), String(bound));
  }
});

test.run();
