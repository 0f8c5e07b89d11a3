import { isUtf8 as nodeIsUtf8 } from 'node:buffer';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  BeatAnswers,
  type DeviceMessage,
  decodeDeviceMessage,
  decodeGatewayMessage,
  decodeOrderBody,
  decodeResultBody,
  decodeValue,
  encodeDeviceMessage,
  encodeGatewayMessage,
  encodeOrderBody,
  encodeResultBody,
  encodeValue,
  LIMITS,
  type OrderBody,
  ProtocolError,
  plainBeat,
  REPORTABLE_STATES,
  type ResultBody,
} from '../../protocol/index.ts';
import { isUtf8 } from '../../protocol/utf8.ts';
import { fromHex, toHex } from './vectors-file.ts';

function breaks(rule: string, action: () => unknown): void {
  assert.throws(action, (error: unknown) => error instanceof ProtocolError && error.rule === rule, rule);
}

function end(data: unknown): ResultBody {
  return { state: 'succeeded', data };
}

function nested(depth: number): unknown {
  let value: unknown = [];
  for (let i = 1; i < depth; i++) value = [value];
  return value;
}

test('G-18: a list has up to 128 gateways and 32,768 bytes, none of them twice', () => {
  const list = (count: number, urlLength = 20): OrderBody => ({
    kind: 'gateways',
    target: { group: 'berlin' },
    epoch: 1,
    revision: 1,
    gateways: Array.from({ length: count }, (_, n) => ({ name: `gw${n}`, url: 'w'.repeat(urlLength) })),
    issuedAt: 1,
  });
  for (const good of [list(1), list(LIMITS.listedGateways), list(60, LIMITS.urlLength)]) {
    assert.equal(decodeOrderBody(encodeOrderBody(good)), good);
  }
  breaks('F-6', () => encodeOrderBody(list(LIMITS.listedGateways + 1)));
  breaks('F-6', () => encodeOrderBody(list(1, LIMITS.urlLength + 1)));
  breaks('G-18', () => encodeOrderBody(list(64, LIMITS.urlLength)));
  breaks('G-18', () => encodeOrderBody(list(0)));
});

test('G-1, G-3: messages name gateways, and never say where they are', () => {
  const address = { name: 'gw1', url: 'ws://127.0.0.1:1' };
  const redirect = { t: 'redirect', reason: 'drain', withinMs: 0 };
  const welcome = { t: 'welcome', session: 1, time: 1, heartbeatMs: 60_000 };
  for (const entry of [address, address.url, 'gw 1', '']) {
    breaks('F-6', () => decodeGatewayMessage(encodeValue({ t: 'update', gateways: [entry] })));
    breaks('F-6', () => decodeGatewayMessage(encodeValue({ ...redirect, to: [entry] })));
    breaks('F-6', () => decodeGatewayMessage(encodeValue({ ...welcome, gateways: [entry] })));
  }
  const many = Array.from({ length: LIMITS.gateways + 1 }, (_, n) => `gw${n}`);
  breaks('F-6', () => decodeGatewayMessage(encodeValue({ t: 'update', gateways: many })));
});

test('F-6: a name that is longer than its limit breaks the rule, and so does one that is no text', () => {
  const prove = {
    t: 'prove',
    device: 'd',
    sig: new Uint8Array(64),
    software: '',
    caps: [],
    membership: [0, 0],
    keys: [0, 0],
    gateways: [0, 0],
  };
  for (const name of ['x'.repeat(LIMITS.nameLength + 1), 7]) {
    breaks('F-6', () => decodeDeviceMessage(encodeValue({ ...prove, name })));
  }
  const own = { ...prove, name: 'x'.repeat(LIMITS.nameLength), displaced: true };
  assert.equal(decodeDeviceMessage(encodeValue(own)), own as DeviceMessage);
  assert.equal(
    decodeDeviceMessage(encodeValue({ ...prove, name: null, displaced: 1 })),
    prove as DeviceMessage,
  );
});

test('F-3: a frame of 65,536 bytes is read, one byte more is not', () => {
  const frame = (padding: number) => encodeValue({ t: 'ack', id: 'c', padding: new Uint8Array(padding) });
  const room = LIMITS.frameBytes - (frame(1000).length - 1000);
  assert.is(frame(room).length, LIMITS.frameBytes);
  assert.equal(decodeDeviceMessage(frame(room)), { t: 'ack', id: 'c' });
  breaks('F-3', () => decodeDeviceMessage(frame(room + 1)));
  breaks('F-3', () => decodeGatewayMessage(frame(room + 1)));
  breaks('F-3', () => decodeOrderBody(frame(room + 1)));
});

test('F-4: 17 levels are read, 18 are not', () => {
  assert.equal(decodeResultBody(encodeValue(end(nested(16)))), end(nested(16)));
  breaks('F-4', () => decodeResultBody(encodeValue(end(nested(17)))));
  assert.equal(decodeDeviceMessage(encodeValue({ t: 'ack', id: 'c', x: nested(16) })), { t: 'ack', id: 'c' });
  breaks('F-4', () => decodeDeviceMessage(encodeValue({ t: 'ack', id: 'c', x: nested(17) })));
  for (const opening of ['91', 'dc0001', 'dd00000001', '81a161', 'de0001a161', 'df00000001a161']) {
    breaks('F-4', () => decodeValue(fromHex(`${opening.repeat(10_000)}c0`)));
  }
});

test('F-4: no extension type of any number or size passes, known to the decoder or not', () => {
  for (let type = 0; type < 256; type++) {
    const ext = type.toString(16).padStart(2, '0');
    for (const hex of [`d4${ext}00`, `d5${ext}0000`, `d6${ext}00000000`, `d7${ext}${'00'.repeat(8)}`]) {
      breaks('F-4', () => decodeValue(fromHex(hex)));
    }
    for (const hex of [`d8${ext}${'00'.repeat(16)}`, `c700${ext}`, `c80001${ext}00`, `c900000001${ext}c0`]) {
      breaks('F-4', () => decodeValue(fromHex(hex)));
    }
  }
  breaks('F-4', () => decodeValue(encodeValue(new Date(0))));
});

test('F-4: references, with which few bytes stand for a huge structure, are refused at once', () => {
  const reference = (tag: string, id: number) => `d6${tag}${id.toString(16).padStart(8, '0')}`;
  let hex = `${reference('69', 1)}91c0`;
  for (let level = 2; level <= 15; level++) {
    hex = `${reference('69', level)}9a${hex}${reference('70', level - 1).repeat(9)}`;
  }
  const started = performance.now();
  breaks('F-4', () => decodeDeviceMessage(fromHex(`82a174a361636ba178${hex}`)));
  assert.ok(performance.now() - started < 1_000);
});

test('F-4: a key named __proto__ changes nothing and is not kept', () => {
  const frame = fromHex('83a174a361636ba26964a163a95f5f70726f746f5f5f81a87061737365644279c3');
  const message = decodeDeviceMessage(frame) as object;
  assert.equal(message, { t: 'ack', id: 'c' });
  assert.is(Object.getPrototypeOf(message), Object.prototype);
  assert.is(({} as { passedBy?: unknown }).passedBy, undefined);
  const data = decodeValue(fromHex('81a95f5f70726f746f5f5f81a161c3')) as object;
  assert.is(Object.getPrototypeOf(data), Object.prototype);
  assert.is((data as { a?: unknown }).a, undefined);
  // A field that only the prototype has is no field.
  breaks('F-6', () => decodeDeviceMessage(fromHex('82a95f5f70726f746f5f5f82a174a361636ba26964a163a178c0')));
});

test('F-4: keys named like members of every object are data', () => {
  const data = { constructor: 1, hasOwnProperty: 2, toString: 3 };
  assert.equal(decodeResultBody(encodeValue(end(data))).data, data);
});

test('F-5: an integer is read in every form that holds it', () => {
  const forms = ['07', 'cc07', 'cd0007', 'ce00000007', 'cf0000000000000007', 'd007', 'd10007', 'd200000007'];
  for (const form of [...forms, 'd30000000000000007', 'ca40e00000', 'cb401c000000000000']) {
    assert.equal(
      decodeGatewayMessage(fromHex(`82a174a462656174a474696d65${form}`)),
      { t: 'beat', time: 7 },
      form,
    );
  }
});

test('F-5: integers end at 2^53 - 1 on both sides', () => {
  assert.is(decodeValue(fromHex('cf001fffffffffffff')), Number.MAX_SAFE_INTEGER);
  assert.is(decodeValue(fromHex('d3ffe0000000000001')), -Number.MAX_SAFE_INTEGER);
  for (const hex of [
    'cf0020000000000000',
    'cfffffffffffffffff',
    'd3ffe0000000000000',
    'd38000000000000000',
  ]) {
    breaks('F-5', () => decodeValue(fromHex(hex)));
  }
  breaks('F-5', () => decodeGatewayMessage(fromHex('82a174a462656174a474696d65cb4340000000000000')));
  breaks('F-5', () => decodeValue(encodeValue(2n ** 60n + 1n)));
});

test('F-5: numbers that are not finite are refused wherever they are', () => {
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
    breaks('F-5', () => decodeValue(encodeValue({ deep: [{ value }] })));
  }
});

test('F-2: a frame cut at any byte is refused, and so is anything after the value', () => {
  const frame = encodeValue({
    t: 'result',
    id: 'c',
    state: 'succeeded',
    data: [1.5, 300, 70_000, 'x'.repeat(40), null],
  });
  for (let length = 0; length < frame.length; length++) {
    breaks('F-2', () => decodeDeviceMessage(frame.subarray(0, length)));
  }
  for (const extra of [0x00, 0xc0, 0xc1, 0x80])
    breaks('F-2', () => decodeDeviceMessage(Uint8Array.of(...frame, extra)));
});

test('F-2: lengths that promise more than there is are refused without reserving room', () => {
  const before = process.memoryUsage().rss;
  for (const tag of ['dbffffffff', 'c6ffffffff', 'ddffffffff', 'dfffffffff', 'ddff000000'.repeat(10)]) {
    breaks('F-2', () => decodeValue(fromHex(tag)));
  }
  assert.ok(process.memoryUsage().rss - before < 64 * 1024 * 1024);
});

test('F-6: limits count characters, not bytes', () => {
  const note = 'ü'.repeat(LIMITS.noteLength);
  assert.equal(decodeDeviceMessage(encodeValue({ t: 'progress', id: 'c', note })), {
    t: 'progress',
    id: 'c',
    note,
  });
  breaks('F-6', () => decodeDeviceMessage(encodeValue({ t: 'progress', id: 'c', note: `${note}ü` })));
});

test('F-6: text that is not UTF-8 is refused wherever it is, by both decoders alike', () => {
  const wrong = [
    'fffe',
    '80',
    'c3',
    'c0af',
    'e08080',
    'eda080',
    'edb080',
    'f0808080',
    'f4908080',
    'f5808080',
  ];
  for (const text of wrong) {
    const item = `${(0xa0 + text.length / 2).toString(16)}${text}`;
    for (const frame of [`82a174a461636ba178${item}`, `82a174a461636b${item}c0`, `91${item}`]) {
      breaks('F-6', () => decodeValue(fromHex(frame)));
    }
    breaks('F-6', () => decodeDeviceMessage(fromHex(`83a174a870726f6772657373a26964a163a46e6f7465${item}`)));
    breaks('F-6', () => decodeGatewayMessage(fromHex(`82a174a462656174a474696d65${item}`)));
  }
});

test('F-6: every sequence of up to three bytes is text exactly if Node says so', () => {
  for (let first = 0x80; first < 256; first++) {
    for (let second = 0; second < 256; second++) {
      for (const rest of [[], [0x80], [0xbf], [0xc0], [0x41], [0x80, 0xbf], [0xbf, 0x80], [0x80, 0x41]]) {
        const bytes = Uint8Array.of(first, second, ...rest);
        if (isUtf8(bytes) !== nodeIsUtf8(bytes)) assert.unreachable(toHex(bytes));
      }
    }
  }
  assert.ok(isUtf8(new TextEncoder().encode('a\0ß€😀\u{10ffff}\u{fffd}')));
});

test('F-6: a text with half of a pair is not written', () => {
  breaks('F-6', () => encodeResultBody(end({ '\udc00': 1 })));
});

test('F-6: identifiers start with a letter or digit and hold nothing that needs escaping', () => {
  for (const id of ['a', '0', 'A.b-c_d', 'x'.repeat(64)]) {
    assert.equal(decodeDeviceMessage(encodeValue({ t: 'ack', id })), { t: 'ack', id });
  }
  for (const id of ['', '-a', '.a', '_a', 'a b', 'a/b', 'a\n', 'ä', 'x'.repeat(65), 7, null, ['a']]) {
    breaks('F-6', () => decodeDeviceMessage(encodeValue({ t: 'ack', id })));
  }
});

test('V-2: unknown messages and kinds are skipped, unknown fields left out', () => {
  assert.is(decodeDeviceMessage(encodeValue({ t: 'later', x: 1 })), null);
  assert.is(decodeGatewayMessage(encodeValue({ t: 'later', x: 1 })), null);
  assert.is(decodeOrderBody(encodeValue({ kind: 'later', x: 1 })), null);
  assert.equal(decodeDeviceMessage(encodeValue({ t: 'ack', id: 'c', later: { x: 1 } })), {
    t: 'ack',
    id: 'c',
  });
});

test('V-2: a message of the other direction is skipped like an unknown one', () => {
  assert.is(decodeDeviceMessage(encodeValue({ t: 'welcome' })), null);
  assert.is(decodeGatewayMessage(encodeValue({ t: 'prove' })), null);
});

test('R-1: a device may report these states and no others', () => {
  for (const state of REPORTABLE_STATES) assert.equal(decodeResultBody(encodeValue({ state })), { state });
  for (const state of ['queued', 'sent', 'acked', 'running', 'superseded', '', null]) {
    breaks('F-6', () => decodeResultBody(encodeValue({ state })));
  }
});

test('R-4: a body of 33,792 bytes is read, one byte more is not, however it is filled', () => {
  const fits = end(new Uint8Array(LIMITS.resultBytes - encodeValue(end(0)).length - 2));
  assert.is(encodeValue(fits).length, LIMITS.resultBytes);
  assert.equal(decodeResultBody(encodeValue(fits)), fits);
  breaks('R-4', () => decodeResultBody(encodeValue(end(new Uint8Array(LIMITS.resultBytes - 20)))));
  const sealed = (length: number) => ({
    t: 'result',
    id: 'c',
    body: new Uint8Array(length),
    mac: new Uint8Array(32),
  });
  assert.ok(decodeDeviceMessage(encodeValue(sealed(LIMITS.resultBytes))));
  for (const length of [0, LIMITS.resultBytes + 1]) {
    breaks('F-6', () => decodeDeviceMessage(encodeValue(sealed(length))));
  }
});

test('F-5, R-4: no result is encoded that the ledger would refuse', () => {
  breaks('F-5', () => encodeResultBody(end(Number.NaN)));
  breaks('F-5', () => encodeResultBody(end({ big: 2n ** 60n })));
  breaks('F-4', () => encodeResultBody(end(new Date(0))));
  breaks('F-4', () => encodeResultBody(end(nested(17))));
  breaks('R-4', () => encodeResultBody(end('x'.repeat(LIMITS.resultBytes))));
});

test('S-3: no order is encoded that devices would drop', () => {
  const command: OrderBody = {
    kind: 'command',
    id: 'c',
    type: 'message',
    args: null,
    target: { device: 'd' },
    issuedAt: 1,
    expiresAt: 2,
    timeoutMs: 3,
  };
  assert.equal(decodeOrderBody(encodeOrderBody(command)), command);
  breaks('S-3', () => encodeOrderBody({ ...command, args: 'x'.repeat(LIMITS.argsBytes) }));
  breaks('F-5', () => encodeOrderBody({ ...command, timeoutMs: 0 }));
  breaks('F-4', () => encodeOrderBody({ ...command, args: nested(17) }));
});

test('F-2: a decoded message does not share memory with the frame', () => {
  const frame = encodeValue({ t: 'order', body: Uint8Array.of(1, 2, 3), sig: new Uint8Array(64) });
  const order = decodeGatewayMessage(frame) as { body: Uint8Array };
  frame.fill(0);
  assert.is(toHex(order.body), '010203');
});

test('B-1: a beat that says nothing is known by its bytes, and is what they decode to', () => {
  const beat = encodeDeviceMessage({ t: 'beat' });
  assert.equal(plainBeat(beat), decodeDeviceMessage(beat));
  const status = { body: Uint8Array.of(0x80), mac: new Uint8Array(32) };
  assert.is(plainBeat(encodeDeviceMessage({ t: 'beat', status })), null);
  for (let at = 0; at < beat.length; at++) {
    assert.is(plainBeat(beat.subarray(0, at)), null, 'cut short');
    for (let bit = 1; bit < 256; bit <<= 1) {
      const other = beat.slice();
      other[at] = (other[at] as number) ^ bit;
      assert.is(plainBeat(other), null, toHex(other));
    }
  }
  assert.is(plainBeat(fromHex(`${toHex(beat)}c0`)), null, 'something follows');
});

test('B-2: an answer written over the one before it is encoded as any other', () => {
  const answers = new BeatAnswers();
  for (const time of [0, 1, 1_795_341_660_000, Number.MAX_SAFE_INTEGER]) {
    assert.equal(decodeGatewayMessage(answers.at(time)), { t: 'beat', time });
  }
  const now = Date.now();
  assert.equal(answers.at(now), encodeGatewayMessage({ t: 'beat', time: now }));
});

test.run();
