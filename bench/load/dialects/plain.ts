/**
 * A WebSocket client that only listens: for servers that publish without admission. A message's key is the word before its
 * first space, so that each publish is told from the next. With `answerBytes` it answers each with so many bytes.
 */
import { sharedNow } from '../../measure/clock.ts';
import type { DialectFactory } from '../dialect.ts';
import { clientFrame } from '../frames.ts';

const dialect: DialectFactory = ({ marks, counters, options }) => {
  const answerBytes = Number(options.answerBytes ?? 0);
  const answer = answerBytes > 0 ? clientFrame(new Uint8Array(answerBytes)) : null;
  return {
    path: options.path ?? '/',
    headers: [],
    opened: (connection) => connection.ready(performance.now()),
    message: (connection, payload) => {
      const at = sharedNow();
      counters.add('messages');
      marks.add('arrived', keyOf(payload), at);
      if (answer) connection.send(answer);
    },
  };
};
export default dialect;

function keyOf(payload: Uint8Array): string {
  const end = payload.indexOf(32);
  const word = payload.subarray(0, Math.min(end < 0 ? 16 : end, 64));
  return Buffer.from(word.buffer, word.byteOffset, word.length).toString('latin1');
}
