import { TUNNEL_SUBPROTOCOL } from '../../protocol/index.ts';
import type { LegDial } from '../../tunnel/index.ts';
import { browserWebSocket, openWebSocket } from '../platform/web-socket.ts';

/** Dials the legs of tunnels with the WebSocket of the browser, or one given. */
export function webLegDial(WebSocketClass = browserWebSocket()): LegDial {
  return (url, events) => {
    const { socket, close, terminate } = openWebSocket(WebSocketClass, url, TUNNEL_SUBPROTOCOL, {
      opened: () => events.opened(),
      message: (data) => {
        if (data instanceof ArrayBuffer) events.binary(new Uint8Array(data));
        else events.text(String(data));
      },
      closed: (how) => events.closed(how),
    });
    return {
      sendBinary: (frame) => socket.send(frame),
      sendText: (text) => socket.send(text),
      close,
      terminate,
    };
  };
}
