/** Frames of tunnels and what they mean (T-6), and frames that are refused. */
import {
  decodeTunnelFrame,
  encodeCredit,
  encodeFin,
  encodeHello,
  encodeOpen,
  encodeOpened,
  encodeReceived,
  encodeReset,
  reconnectAdvice,
  TUNNEL_CLOSE,
  writeDataHeader,
} from '../../protocol/index.ts';
import { hexOf, view } from './wire.ts';

const FAR = 2 ** 40 + 5;

function dataFrame(stream: number, offset: number, text: string): Uint8Array {
  const bytes = new TextEncoder().encode(text);
  const frame = new Uint8Array(13 + bytes.length);
  writeDataHeader(frame, stream, offset);
  frame.set(bytes, 13);
  return frame;
}

const written: [string, Uint8Array][] = [
  ['HELLO of the first pair', encodeHello({ pair: 1, window: 524_288, highest: 0, streams: [] })],
  [
    'HELLO of a later pair, two live streams',
    encodeHello({
      pair: 3,
      window: 524_288,
      highest: 7,
      streams: [
        { stream: 2, opened: true, received: 10, credit: FAR },
        { stream: 7, opened: false, received: 0, credit: 524_288 },
      ],
    }),
  ],
  ['OPEN', encodeOpen(1, '127.0.0.1', 22)],
  ['OPENED', encodeOpened(1)],
  ['DATA at the beginning', dataFrame(1, 0, 'SSH-2.0-')],
  ['DATA beyond 32 bits', dataFrame(2, FAR, 'x')],
  ['CREDIT', encodeCredit(1, 524_296)],
  ['FIN', encodeFin(1, 8)],
  ['RESET', encodeReset(1, 'unreachable', 'ECONNREFUSED')],
  ['RECEIVED', encodeReceived(524_288)],
];

const refused: [string, string][] = [
  ['no type', ''],
  ['shorter than a header', '04000000'],
  ['type 0', '0000000001'],
  ['a type that does not exist', '0900000001'],
  ['DATA of stream 0', '0400000000000000000000000061'],
  ['DATA without bytes', '04000000010000000000000000'],
  ['an offset beyond 2^53', '0400000001ffffffffffffffff61'],
  ['HELLO of a stream', '010000000101000000010008000000000000'],
  ['HELLO cut in an entry', '01000000000100000001000800000000000000000001'],
  ['OPEN without a host', '02000000010016'],
  ['OPEN of port 0', '020000000100006162'],
  ['OPEN of a host that is not UTF-8', '0200000001001680ff'],
  ['OPENED with more', '030000000100'],
  ['CREDIT too short', '0500000001000000'],
  ['RESET without a code', '0700000001'],
  ['RESET with a reason that is not UTF-8', '070000000103fffe'],
];

export function tunnelVectors() {
  return {
    tunnelFrames: written.map(([name, bytes]) => ({
      name,
      hex: hexOf(bytes),
      frame: view(decodeTunnelFrame(bytes)),
    })),
    refusedTunnelFrames: refused.map(([name, hex]) => ({ name, hex, rule: 'T-6' })),
    tunnelCloseCodes: Object.entries(TUNNEL_CLOSE)
      .sort(([, a], [, b]) => a - b)
      .map(([name, code]) => ({ code, name, advice: reconnectAdvice(code) })),
  };
}
