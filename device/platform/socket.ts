/** The SDK's view of a WebSocket, so that `ws`, a browser's WebSocket, or a program's own can be used. */
export interface DeviceSocket {
  send(frame: Uint8Array): void;
  close(code: number, reason: string): void;
  /** Ends the connection without waiting for the other end. */
  terminate(): void;
  /** Bytes given to `send` and not yet to the network. */
  readonly bufferedBytes: number;
}

export interface SocketClosed {
  /** Close code; 1006 if the connection ended without one. */
  code: number;
  reason: string;
  /** What an HTTP refusal's Retry-After asked for, milliseconds. */
  retryAfterMs?: number;
  /** Names of gateways that an HTTP refusal sends the device to (C-5). */
  gateways?: string[];
}

/** `closed` comes exactly once, also for a connection that never opened; nothing comes after it. */
export interface SocketEvents {
  opened(): void;
  frame(bytes: Uint8Array): void;
  closed(how: SocketClosed): void;
}

export type Dial = (url: string, events: SocketEvents) => DeviceSocket;
