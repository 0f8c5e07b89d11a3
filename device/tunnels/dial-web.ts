import { TUNNEL_SUBPROTOCOL } from '../../protocol/index.ts';
import type { LegDial } from '../../tunnel/index.ts';

/** The part of a browser's WebSocket that is used here; the compiler's browser library is not loaded for Node. */
interface WebSocketLike {
  binaryType: string;
  onopen: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  send(data: Uint8Array | string): void;
  close(code?: number, reason?: string): void;
}
type WebSocketConstructor = new (url: string, protocol: string) => WebSocketLike;

/** Dials the legs of tunnels with the WebSocket of the browser, or one given. */
export function webLegDial(
  WebSocketClass = (globalThis as unknown as { WebSocket: WebSocketConstructor }).WebSocket,
): LegDial {
  return (url, events) => {
    const socket = new WebSocketClass(url, TUNNEL_SUBPROTOCOL);
    let over = false;
    const end = (code: number, reason: string) => {
      if (over) return;
      over = true;
      events.closed({ code, reason });
    };
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => {
      if (!over) events.opened();
    };
    socket.onmessage = ({ data }) => {
      if (over) return;
      if (data instanceof ArrayBuffer) events.binary(new Uint8Array(data));
      else events.text(String(data));
    };
    socket.onclose = ({ code, reason }) => end(code, reason);
    return {
      sendBinary: (frame) => socket.send(frame),
      sendText: (text) => socket.send(text),
      // Of the codes below 3000 a browser lets a page send 1000 only.
      close: (code, reason) => socket.close(code < 3000 ? 1000 : code, reason.slice(0, 40)),
      terminate: () => {
        socket.close();
        queueMicrotask(() => end(1006, ''));
      },
    };
  };
}
