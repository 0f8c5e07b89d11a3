/**
 * Engine.IO 4 without polling, and Socket.IO 5 over it: the default namespace, one event with one text.
 * Packets begin with their type.
 */
import { sharedNow } from '../../measure/clock.ts';
import type { DialectFactory } from '../dialect.ts';
import { clientFrame, OPCODE } from '../frames.ts';
import { messageKey } from '../message-key.ts';

const packet = (text: string) => clientFrame(Buffer.from(text), OPCODE.text);
const CONNECT = packet('40');
const PONG = packet('3');
/** Before the text of the event. */
const EVENT = '42["order","';

const dialect: DialectFactory = ({ marks, counters }) => ({
  path: '/socket.io/?EIO=4&transport=websocket',
  headers: [],
  opened() {
    // The server speaks first: `0{"sid":…}`.
  },
  message(connection, payload) {
    const first = payload[0] as number;
    const second = payload[1];
    if (first === 0x30) connection.send(CONNECT);
    else if (first === 0x32) connection.send(PONG);
    else if (first === 0x34 && second === 0x30) connection.ready(performance.now());
    else if (first === 0x34 && second === 0x32) {
      marks.add('arrived', messageKey(payload.subarray(EVENT.length)), sharedNow());
    } else counters.add('unknown');
  },
});
export default dialect;
