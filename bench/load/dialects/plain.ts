/**
 * A WebSocket client that only listens: for servers that publish without admission. With `answerBytes` it
 * answers each message with so many bytes.
 */
import { sharedNow } from '../../measure/clock.ts';
import type { DialectFactory } from '../dialect.ts';
import { clientFrame } from '../frames.ts';
import { messageKey } from '../message-key.ts';

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
      marks.add('arrived', messageKey(payload), at);
      if (answer) connection.send(answer);
    },
  };
};
export default dialect;
