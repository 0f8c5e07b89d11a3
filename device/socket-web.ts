import { SUBPROTOCOL } from '../protocol/index.ts';
import type { Dial } from './socket.ts';

/** The part of a browser's WebSocket that is used here; the compiler's browser library is not loaded for Node. */
interface WebSocketLike {
  binaryType: string;
  readonly bufferedAmount: number;
  onopen: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  send(data: Uint8Array): void;
  close(code?: number, reason?: string): void;
}
type WebSocketConstructor = new (url: string, protocol: string) => WebSocketLike;

/** Dials with the WebSocket of the browser, or one given. A browser does not show HTTP refusals: they are 1006. */
export function webDial(
  WebSocketClass = (globalThis as unknown as { WebSocket: WebSocketConstructor }).WebSocket,
): Dial {
  return (url, events) => {
    const socket = new WebSocketClass(url, SUBPROTOCOL);
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
      if (!over) events.frame(data instanceof ArrayBuffer ? new Uint8Array(data) : new Uint8Array(0));
    };
    socket.onclose = ({ code, reason }) => end(code, reason);
    return {
      send: (frame) => socket.send(frame),
      // Of the codes below 3000 a browser lets a page send 1000 only.
      close: (code, reason) => socket.close(code < 3000 ? 1000 : code, reason.slice(0, 40)),
      terminate: () => {
        // A browser cannot drop a connection: it is closed, and not listened to any more.
        socket.close();
        queueMicrotask(() => end(1006, ''));
      },
      get bufferedBytes() {
        return socket.bufferedAmount;
      },
    };
  };
}
