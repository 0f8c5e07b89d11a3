import type { SocketClosed } from './platform/socket.ts';

/** How a connection ended. */
export interface ConnectionEnd extends SocketClosed {
  /** How far it got. `refused` is H-5: the gateway is not the one its address belongs to. */
  after: 'dialing' | 'handshake' | 'session' | 'refused';
  sessionMs: number;
}
