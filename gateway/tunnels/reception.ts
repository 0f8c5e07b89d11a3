/**
 * Receives legs in this process, whichever worker of the gateway has their tunnel: siblings share the port,
 * so the kernel may hand a leg to any of them. The first message names the worker; legs of other workers are
 * forwarded.
 */

import type {
  CutReason,
  UnauthenticatedSocket,
  UnauthenticatedSockets,
} from '../../bus/unauthenticated-sockets.ts';
import {
  decodeLegMessage,
  encodeTunnelMessage,
  TUNNEL_CLOSE,
  TUNNEL_LIMITS,
  TunnelError,
} from '../../protocol/index.ts';
import { type DeviceSocket, remoteAddress } from '../sessions/session.ts';
import type { Leg, LegInput, LocalLeg } from './leg.ts';
import type { SiblingRelay } from './sibling-relay.ts';

export interface ReceptionParts {
  workerNumber: number;
  relay: { enter(leg: Leg): LegInput };
  /** Relay to sibling workers; `null` where there are none. */
  siblingRelay: SiblingRelay | null;
  unauthenticatedSockets: UnauthenticatedSockets;
  /** A leg that did not read its data was cut. */
  slow(): void;
}

/** A close reason is at most 123 bytes (RFC 6455, 5.5). */
const REASON_BYTES = 120;

export class Reception {
  readonly #parts: ReceptionParts;

  constructor(parts: ReceptionParts) {
    this.#parts = parts;
  }

  /** A WebSocket opened at `/tunnel`. */
  open(socket: DeviceSocket, unauthenticated: UnauthenticatedSocket): SocketLeg {
    return new SocketLeg(socket, unauthenticated, this.#parts);
  }
}

/** A leg whose WebSocket is in this process. */
export class SocketLeg implements LocalLeg {
  readonly address: string;
  readonly #socket: DeviceSocket;
  readonly #parts: ReceptionParts;
  #input: LegInput | null = null;
  /** `null` once its ticket is verified. */
  #unauthenticated: UnauthenticatedSocket | null;
  #open = true;

  constructor(socket: DeviceSocket, unauthenticated: UnauthenticatedSocket, parts: ReceptionParts) {
    this.#socket = socket;
    this.#parts = parts;
    this.#unauthenticated = unauthenticated;
    this.address = remoteAddress(socket);
    parts.unauthenticatedSockets.become(unauthenticated, 'leg', {
      cut: (why) => this.#cutUnauthenticated(why),
    });
  }

  get bufferedBytes(): number {
    return this.#open ? this.#socket.getBufferedAmount() : 0;
  }

  trusted(): void {
    const unauthenticated = this.#unauthenticated;
    this.#unauthenticated = null;
    if (unauthenticated) this.#parts.unauthenticatedSockets.leave(unauthenticated);
  }

  say(message: Parameters<Leg['say']>[0]): void {
    if (message.t === 'joined') this.trusted();
    this.sayText(Buffer.from(encodeTunnelMessage(message)));
  }

  sayText(text: Uint8Array): void {
    if (this.#open && this.#socket.send(text, false) === 2) this.#cut();
  }

  frame(bytes: Uint8Array): void {
    if (!this.#open) return;
    // The message was dropped at the bound, and the other end could not detect the gap (T-9).
    if (this.#socket.send(bytes, true) === 2) this.#cut();
  }

  close(code: number, reason: string): void {
    if (!this.#open) return;
    this.#open = false;
    if (this.#unauthenticated === null || this.#parts.unauthenticatedSockets.mayLinger()) {
      this.#socket.end(code, Buffer.from(reason).subarray(0, REASON_BYTES).toString());
    } else {
      this.#socket.close();
    }
    this.#closed();
  }

  /* ---- from the push server ---- */

  message(bytes: Uint8Array, isBinary: boolean): void {
    if (!this.#open) return;
    if (this.#input !== null && isBinary) {
      this.#input.frame(bytes);
      return;
    }
    if (bytes.length > TUNNEL_LIMITS.textBytes) {
      this.close(TUNNEL_CLOSE.protocolError, 'T-2: a message too long');
      return;
    }
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString();
    if (this.#input === null) this.#first(text, isBinary);
    else this.#input.text(text);
  }

  closedByPeer(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#closed();
  }

  #first(text: string, isBinary: boolean): void {
    const { workerNumber, relay, siblingRelay } = this.#parts;
    const worker = isBinary ? null : workerOf(text);
    if (worker === null || worker === workerNumber) this.#input = relay.enter(this);
    else if (siblingRelay) this.#input = siblingRelay.through(worker, this);
    else {
      this.say({ t: 'refused', reason: 'wrong-worker' });
      this.close(TUNNEL_CLOSE.unreachable, 'wrong-worker');
      return;
    }
    if (isBinary) this.#input.frame(new Uint8Array());
    else this.#input.text(text);
  }

  /** A close frame would not get through. */
  #cut(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#socket.close();
    this.#parts.slow();
    this.#closed();
  }

  #cutUnauthenticated(why: CutReason): void {
    if (why === 'late') {
      this.close(TUNNEL_CLOSE.joinTimeout, 'T-2: no join in time');
    } else if (this.#open) {
      this.#open = false;
      this.#socket.close();
      this.#closed();
    }
  }

  #closed(): void {
    this.trusted();
    const input = this.#input;
    this.#input = null;
    input?.closed();
  }
}

/** The worker named by a first message; `null` for an invalid message, which the relay refuses. */
function workerOf(text: string): number | null {
  try {
    const message = decodeLegMessage(text);
    return message?.t === 'join' || message?.t === 'resume' ? message.worker : null;
  } catch (error) {
    if (error instanceof TunnelError) return null;
    throw error;
  }
}
