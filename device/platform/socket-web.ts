import { SUBPROTOCOL } from '../../protocol/index.ts';
import type { Dial } from './socket.ts';
import { browserWebSocket, openWebSocket } from './web-socket.ts';

/**
 * Dials with the WebSocket of the browser, or one given. A browser does not show HTTP refusals: they are
 * 1006.
 */
export function webDial(WebSocketClass = browserWebSocket()): Dial {
  return (url, events) => {
    const { socket, close, terminate } = openWebSocket(WebSocketClass, url, SUBPROTOCOL, {
      opened: () => events.opened(),
      message: (data) => events.frame(data instanceof ArrayBuffer ? new Uint8Array(data) : new Uint8Array(0)),
      closed: (how) => events.closed(how),
    });
    return {
      send: (frame) => socket.send(frame),
      close,
      terminate,
      get bufferedBytes() {
        return socket.bufferedAmount;
      },
    };
  };
}
