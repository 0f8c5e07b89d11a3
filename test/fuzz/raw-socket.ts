/** Bytes below WebSocket: requests that are none, frames that no library sends. */
import { randomBytes as secureBytes } from 'node:crypto';
import { connect } from 'node:net';
import { SUBPROTOCOL, TUNNEL_PATH, TUNNEL_SUBPROTOCOL } from '../../protocol/index.ts';
import type { Random } from '../faults/random.ts';
import { BODIES, EMPTY } from '../gateway/request-bodies.ts';
import { randomBytes } from './frames.ts';
import { type Tally, within } from './tally.ts';

const MOST_WRITES = 12;

export async function playRawSocket(url: string, random: Random, tally: Tally): Promise<void> {
  tally.sockets++;
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port) });
  let over = false;
  socket.on('close', () => {
    over = true;
  });
  socket.on('error', () => {
    // 'close' follows.
  });
  socket.resume();
  if (random.next() < 0.9) socket.write(upgrade(random));
  for (let n = random.below(MOST_WRITES); n > 0 && !over; n--) {
    tally.frames++;
    socket.write(random.next() < 0.7 ? frame(random) : randomBytes(random, 1 + random.below(300)));
    if (random.next() < 0.3) await new Promise((resolve) => setTimeout(resolve, random.below(10)));
  }
  if (random.next() < 0.5) socket.end();
  else socket.destroy();
  if (!(await within(() => over))) {
    tally.note('hung', 'a socket that was closed did not end');
    socket.destroy();
  }
  tally.ended('socket', 'closed');
}

function upgrade(random: Random): string {
  const tunnel = random.next() < 0.3;
  const path = tunnel ? TUNNEL_PATH : random.one(['/', '/', '/', '/probe', '/nowhere', '*', '/%00']);
  const protocol = random.one([tunnel ? TUNNEL_SUBPROTOCOL : SUBPROTOCOL, SUBPROTOCOL, 'chat', '']);
  const lines = [
    `${random.one(['GET', 'GET', 'GET', 'POST', 'BREW'])} ${path} HTTP/1.1`,
    'Host: fuzz',
    `Connection: ${random.one(['Upgrade', 'Upgrade', 'keep-alive'])}`,
    'Upgrade: websocket',
    `Sec-WebSocket-Version: ${random.one([13, 13, 13, 12])}`,
    `Sec-WebSocket-Key: ${secureBytes(16).toString('base64')}`,
    `Sec-WebSocket-Protocol: ${protocol}`,
    `X-Long: ${'x'.repeat(random.next() < 0.1 ? random.below(20_000) : 1)}`,
  ];
  if (random.next() < 0.2) {
    const [headers, body] = random.one([...BODIES, EMPTY]);
    return `${[...lines, headers].join('\r\n')}\r\n\r\n${body}`;
  }
  return `${lines.join('\r\n')}\r\n\r\n`;
}

/** A WebSocket frame, with any opcode, length and mask bit. */
function frame(random: Random): Uint8Array {
  const payload = randomBytes(random, random.below(120));
  const first = (random.next() < 0.8 ? 0x80 : 0) | random.below(16) | (random.next() < 0.1 ? 0x40 : 0);
  const masked = random.next() < 0.9 ? 0x80 : 0;
  const told = random.next();
  const length =
    told < 0.8
      ? [masked | payload.length]
      : told < 0.9
        ? [masked | 126, 0xff, 0xff]
        : [masked | 127, ...randomBytes(random, 8)];
  return Uint8Array.from([first, ...length, ...(masked ? [0, 0, 0, 0] : []), ...payload]);
}
