import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  decodeGatewayMessage,
  encodeGatewayMessage,
  orderParts,
  ProtocolError,
} from '../../protocol/index.ts';

const sig = new Uint8Array(64).fill(7);
const order = (bytes: number) => ({ t: 'order' as const, body: new Uint8Array(bytes).fill(3), sig });

test('an order is cut apart as it is decoded, whatever the length of its body', () => {
  for (const bytes of [1, 31, 32, 127, 128, 255, 256, 4_000]) {
    const frame = encodeGatewayMessage(order(bytes));
    const { body, sig } = orderParts(frame);
    assert.equal(
      { t: 'order', body: new Uint8Array(body), sig: new Uint8Array(sig) },
      decodeGatewayMessage(frame),
    );
  }
});

test('a changed byte of the frame is refused as decoding refuses it (F-2, F-6)', () => {
  const frame = encodeGatewayMessage(order(5));
  for (let at = 0; at < frame.length; at++) {
    const changed = frame.slice();
    changed[at] = (changed[at] ?? 0) ^ 0x41;
    let decoded: unknown;
    try {
      decoded = decodeGatewayMessage(changed);
    } catch (error) {
      assert.instance(error, ProtocolError);
      assert.throws(
        () => orderParts(changed),
        (thrown: unknown) => thrown instanceof ProtocolError,
        `byte ${at}`,
      );
      continue;
    }
    if ((decoded as { t?: string } | null)?.t !== 'order') {
      assert.throws(
        () => orderParts(changed),
        (thrown: unknown) => thrown instanceof ProtocolError,
        `byte ${at}`,
      );
      continue;
    }
    const { body, sig } = orderParts(changed);
    assert.equal({ t: 'order', body: new Uint8Array(body), sig: new Uint8Array(sig) }, decoded);
  }
});

test('a frame that is cut short, or has more behind it, is refused (F-2)', () => {
  const frame = encodeGatewayMessage(order(40));
  for (let length = 0; length < frame.length; length++)
    assert.throws(() => orderParts(frame.slice(0, length)));
  assert.throws(() => orderParts(Uint8Array.of(...frame, 0)));
});

test.run();
