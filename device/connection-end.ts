import type { SocketClosed } from './platform/socket.ts';

/** How a connection ended. */
export interface ConnectionEnd extends SocketClosed {
  /** How far it got. `refused`: the gateway is not the one that its address belongs to (H-5). */
  after: 'dialing' | 'handshake' | 'session' | 'refused';
  sessionMs: number;
}
