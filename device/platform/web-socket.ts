/**
 * The part of a browser's WebSocket that is used here; the compiler's browser library is not loaded for Node.
 */
export interface WebSocketLike {
  binaryType: string;
  readonly bufferedAmount: number;
  onopen: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  send(data: Uint8Array | string): void;
  close(code?: number, reason?: string): void;
}
export type WebSocketConstructor = new (url: string, protocol: string) => WebSocketLike;

export interface WebSocketEvents {
  opened(): void;
  message(data: unknown): void;
  /** Called once; nothing follows. */
  closed(why: { code: number; reason: string }): void;
}

/** The browser's WebSocket, looked up when needed: Node 20 has none. */
export function browserWebSocket(): WebSocketConstructor {
  return (globalThis as unknown as { WebSocket: WebSocketConstructor }).WebSocket;
}

/** A browser's WebSocket that reports its end once, and closes in the way a page may. */
export function openWebSocket(
  WebSocketClass: WebSocketConstructor,
  url: string,
  subprotocol: string,
  events: WebSocketEvents,
) {
  const socket = new WebSocketClass(url, subprotocol);
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
    if (!over) events.message(data);
  };
  socket.onclose = ({ code, reason }) => end(code, reason);
  return {
    socket,
    // Of the codes below 3000 a browser lets a page send 1000 only.
    close: (code: number, reason: string) => socket.close(code < 3000 ? 1000 : code, reason.slice(0, 40)),
    terminate: () => {
      // A browser cannot drop a connection: it is closed, and later events are ignored.
      socket.close();
      queueMicrotask(() => end(1006, ''));
    },
  };
}
