/**
 * NATS over WebSocket: one subscription. Lines end in CRLF; after MSG come as many bytes as its last word
 * says.
 */
import { sharedNow } from '../../measure/clock.ts';
import type { DialectFactory } from '../dialect.ts';
import { clientFrame } from '../frames.ts';
import { messageKey } from '../message-key.ts';

const PONG = clientFrame(Buffer.from('PONG\r\n'));
const CR = 13;

const dialect: DialectFactory = ({ marks, counters, options }) => {
  // The answer to PING comes after everything before it has taken effect.
  const subscribe = clientFrame(
    Buffer.from(
      'CONNECT {"verbose":false,"pedantic":false,"lang":"bench","version":"1"}\r\nSUB ' +
        `${options.topic ?? 'orders'} 1\r\nPING\r\n`,
    ),
  );
  return {
    path: '/',
    headers: [],
    opened() {
      // The server speaks first: INFO.
    },
    message(connection, payload) {
      for (let at = 0; at < payload.length; ) {
        const end = payload.indexOf(CR, at);
        const line = Buffer.from(payload.buffer, payload.byteOffset + at, end - at).toString('latin1');
        at = end + 2;
        if (line.startsWith('MSG ')) {
          marks.add('arrived', messageKey(payload.subarray(at)), sharedNow());
          at += Number(line.slice(line.lastIndexOf(' ') + 1)) + 2;
        } else if (line.startsWith('INFO ')) connection.send(subscribe);
        else if (line === 'PONG') connection.ready(performance.now());
        else if (line === 'PING') connection.send(PONG);
        else {
          counters.add(`NATS ${line.slice(0, 40)}`);
          return;
        }
      }
    },
  };
};
export default dialect;
