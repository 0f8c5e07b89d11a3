import { TUNNEL_SUBPROTOCOL } from '../../protocol/index.ts';
import type { LegDial } from '../../tunnel/index.ts';
import { browserWebSocket, openWebSocket } from '../platform/web-socket.ts';

/** A WebSocket of a browser takes a message whole. */
function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const message = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    message.set(part, at);
    at += part.length;
  }
  return message;
}

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
      sendBinary: (message) => socket.send(joined(message)),
      sendText: (text) => socket.send(text),
      close,
      terminate,
    };
  };
}
