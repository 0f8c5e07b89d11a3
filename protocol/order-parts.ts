import { pack } from '#msgpack';
import { decodeGatewayMessage } from './codec.ts';
import { ProtocolError } from './frame-scan.ts';
import { LIMITS } from './limits.ts';
import type { Order } from './messages.ts';

/** `{"t": "order", "body": binary of at most 255 bytes, "sig": binary of 64 bytes}` but for their bytes. */
const ORDER_LEAD = pack({ t: 'order', body: new Uint8Array(0), sig: new Uint8Array(0) }).subarray(0, -7);
const ORDER_SIG = Uint8Array.of(0xa3, 0x73, 0x69, 0x67, 0xc4, LIMITS.signatureBytes);

/**
 * The parts of an encoded `order`, as views of it. Frames in the form that `encodeGatewayMessage` gives short
 * orders are cut apart without being decoded: a gateway does this at each admission. Throws `ProtocolError`.
 */
export function orderParts(frame: Uint8Array): Pick<Order, 'body' | 'sig'> {
  const length = frame[ORDER_LEAD.length];
  const from = ORDER_LEAD.length + 1;
  const to = from + (length ?? 0);
  const short = to + ORDER_SIG.length + LIMITS.signatureBytes === frame.length;
  if (short && startsWith(frame, ORDER_LEAD, 0) && startsWith(frame, ORDER_SIG, to)) {
    return {
      body: frame.subarray(from, to) as Uint8Array<ArrayBuffer>,
      sig: frame.subarray(to + ORDER_SIG.length) as Uint8Array<ArrayBuffer>,
    };
  }
  const message = decodeGatewayMessage(frame);
  if (message?.t !== 'order') throw new ProtocolError('F-6', 't: an order');
  return message;
}

function startsWith(bytes: Uint8Array, part: Uint8Array, at: number): boolean {
  for (let i = 0; i < part.length; i++) if (bytes[at + i] !== part[i]) return false;
  return true;
}
