/**
 * A WebSocket client that only listens: for servers that publish without admission. A message's key is the word before its
 * first space, so that each publish is told from the next.
 */
import { sharedNow } from '../../measure/clock.ts';
import type { DialectFactory } from '../dialect.ts';

const dialect: DialectFactory = ({ marks, counters, options }) => ({
  path: options.path ?? '/',
  headers: [],
  opened: (connection) => connection.ready(performance.now()),
  message: (_connection, payload) => {
    const at = sharedNow();
    counters.add('messages');
    marks.add('arrived', keyOf(payload), at);
  },
});
export default dialect;

function keyOf(payload: Uint8Array): string {
  const end = payload.indexOf(32);
  const word = payload.subarray(0, Math.min(end < 0 ? 16 : end, 64));
  return Buffer.from(word.buffer, word.byteOffset, word.length).toString('latin1');
}
