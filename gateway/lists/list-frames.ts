/**
 * The messages that name gateways. The names are the last field, so an empty array makes room for the encoded
 * ones.
 */
import {
  encodeGatewayMessage,
  encodeValue,
  type RedirectReason,
  type SignedPass,
} from '../../protocol/index.ts';
import type { ListedGateway } from './gateway-list.ts';

/** `welcome` (H-6). */
export function welcomeFrame(
  gateways: readonly ListedGateway[],
  session: number,
  time: number,
  heartbeatMs: number,
  pass: SignedPass | undefined,
): Uint8Array {
  const head = { t: 'welcome' as const, session, time, heartbeatMs, ...(pass && { pass }), gateways: [] };
  return withNames(encodeGatewayMessage(head), gateways);
}

/** `update` (G-1). */
export function updateFrame(gateways: readonly ListedGateway[]): Uint8Array {
  return withNames(UPDATE, gateways);
}

/** `redirect` (G-3), at once. */
export function redirectFrame(to: readonly ListedGateway[], reason: RedirectReason): Uint8Array {
  return withNames(encodeValue({ t: 'redirect', reason, withinMs: 0, to: [] }), to);
}

const UPDATE = encodeGatewayMessage({ t: 'update', gateways: [] });

function withNames(head: Uint8Array, gateways: readonly ListedGateway[]): Uint8Array {
  const count = gateways.length;
  // fixarray or array 16.
  const header = count < 16 ? [0x90 | count] : [0xdc, count >> 8, count & 0xff];
  let length = head.length - 1 + header.length;
  for (const { encoded } of gateways) length += encoded.length;
  const frame = new Uint8Array(length);
  frame.set(head.subarray(0, head.length - 1));
  frame.set(header, head.length - 1);
  let at = head.length - 1 + header.length;
  for (const { encoded } of gateways) {
    frame.set(encoded, at);
    at += encoded.length;
  }
  return frame;
}
