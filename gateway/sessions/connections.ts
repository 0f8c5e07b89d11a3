/**
 * All connections of a worker: those not welcomed yet, the session of each device, and the two operations on
 * any of them, sending and closing. Connections are closed only here.
 */
import type { Logger } from 'pino';
import type { CutReason, UnauthenticatedSockets } from '../../bus/unauthenticated-sockets.ts';
import { CLOSE, closeName } from '../../protocol/index.ts';
import type { Metrics } from '../metrics.ts';
import type { ReceiptSpool } from '../receipts/spool.ts';
import type { PendingSettled, SettledList } from './pending-settled.ts';
import type { PresenceReleases } from './presence-releases.ts';
import {
  ADMITTING,
  type AdmittedConnection,
  type Connection,
  ENDED,
  isAdmitted,
  isLoopback,
  type Proving,
  type Session,
} from './session.ts';

export interface ConnectionsParts {
  /** Prefix of connection ids in logs, different in every process. */
  idPrefix: string;
  metrics: Metrics;
  spool: ReceiptSpool;
  releases: PresenceReleases;
  pendingSettled: PendingSettled;
  /** The clock that all programs share. */
  now: () => number;
  unauthenticatedSockets: UnauthenticatedSockets;
  log: Logger;
  /** Called after a device was admitted or a connection is gone. */
  onChanged(): void;
}

/** A close reason is at most 123 bytes (RFC 6455, 5.5). */
const REASON_BYTES = 120;

export interface NewConnection
  extends Pick<Connection, 'socket' | 'port' | 'unauthenticated' | 'heardTick' | 'budget' | 'bytes'> {
  nonce: Uint8Array;
}

export class Connections {
  readonly #parts: ConnectionsParts;
  readonly #unauthenticated = new Set<Connection>();
  readonly #sessions = new Map<string, AdmittedConnection>();
  /** Connections whose frames wait in a buffer. */
  readonly #slow = new Set<Connection>();
  /** The session of the worker's canary: part of `#sessions`, but not counted. */
  #canary: Connection | null = null;
  #lastId = 0;
  /** The connection whose frames are being gathered, and how to close it afterwards. */
  #corked: Connection | null = null;
  #closing: { code: number; reason: string } | null = null;

  constructor(parts: ConnectionsParts) {
    this.#parts = parts;
  }

  /** Open connections, without the canary's. */
  get count(): number {
    return this.#unauthenticated.size + this.devices;
  }

  /** Devices connected. */
  get devices(): number {
    return this.#sessions.size - (this.#canary ? 1 : 0);
  }

  /** Connections not welcomed yet, the oldest first. */
  get unauthenticated(): ReadonlySet<Connection> {
    return this.#unauthenticated;
  }

  /** By device, including the canary. */
  get sessions(): ReadonlyMap<string, AdmittedConnection> {
    return this.#sessions;
  }

  bufferedBytes(): number {
    let sum = 0;
    for (const connection of this.#slow) sum += connection.socket.getBufferedAmount();
    return sum;
  }

  logId(connection: Connection): string {
    return `${this.#parts.idPrefix}-${connection.id.toString(36)}`;
  }

  open({ socket, port, unauthenticated, nonce, heardTick, budget, bytes }: NewConnection): Connection {
    const connection: Connection = {
      id: ++this.#lastId,
      socket,
      port,
      state: { name: 'proving', nonce },
      openedAt: Date.now(),
      unauthenticated,
      heardTick,
      budget,
      bytes,
      framesIn: 0,
      framesOut: 0,
      bytesOut: 0,
    };
    if (isLoopback(connection)) return connection;
    if (unauthenticated) {
      const cut = (why: CutReason) => this.#cutUnauthenticated(connection, why);
      this.#parts.unauthenticatedSockets.become(unauthenticated, 'handshake', { cut });
    }
    this.#unauthenticated.add(connection);
    this.#parts.metrics.opened++;
    return connection;
  }

  /** `prove` arrived; the nonce is not needed again. */
  beginAdmission(connection: Connection & { state: Proving }): void {
    (connection as Connection).state = ADMITTING;
    if (connection.unauthenticated) this.#parts.unauthenticatedSockets.admitting(connection.unauthenticated);
  }

  /**
   * Makes the connection the device's session, unless the device already has a newer one here. An older one
   * is closed with `replaced` (H-9); when its close event arrives, it is no longer the device's session.
   */
  admit(connection: Connection, session: Session): connection is AdmittedConnection {
    const older = this.#sessions.get(session.device);
    if (older && older.state.session > session.session) return false;
    this.#unauthenticated.delete(connection);
    this.#trustedOrGone(connection);
    connection.state = session;
    this.#sessions.set(session.device, connection as AdmittedConnection);
    if (isLoopback(connection)) this.#canary = connection;
    else this.#parts.metrics.admitted++;
    if (older) this.close(older, CLOSE.replaced, 'a newer connection of this device');
    this.#parts.onChanged();
    return true;
  }

  /** `session` claimed the device's presence but ended: nobody could find the older session here any more. */
  endOlder(device: string, session: number): void {
    const older = this.#sessions.get(device);
    if (!older || older.state.session > session) return;
    this.close(older, CLOSE.replaced, 'H-9: a newer connection of this device, which left');
  }

  /** Sends a frame; returns whether it was accepted. A dropped frame closes the connection (4204). */
  send(connection: Connection, frame: Uint8Array): boolean {
    if (connection.state.name === 'ended') return false;
    const result = connection.socket.send(frame, true);
    if (result === 2) {
      this.#cut(connection, CLOSE.backpressure, 'the device does not read');
      return false;
    }
    if (result === 0) this.#slow.add(connection);
    connection.framesOut++;
    connection.bytesOut += frame.length;
    this.#parts.metrics.framesOut++;
    this.#parts.metrics.bytesOut += frame.length;
    return true;
  }

  /**
   * Sends the frames of `run` together. A close inside takes effect only afterwards: otherwise uWebSockets.js
   * would leave TCP open after the close frame until the other side closes.
   */
  cork(connection: Connection, run: () => void): void {
    if (this.#corked) {
      run();
      return;
    }
    this.#corked = connection;
    try {
      connection.socket.cork(run);
    } finally {
      const closing = this.#closing;
      this.#corked = null;
      this.#closing = null;
      if (closing) connection.socket.end(closing.code, closing.reason);
    }
  }

  /** Tells a device of results that are stored, without waiting for its heartbeat. */
  sendSettled(connection: AdmittedConnection, { frames }: SettledList): void {
    this.cork(connection, () => {
      for (const frame of frames) this.send(connection, frame);
    });
  }

  writable(connection: Connection): void {
    if (connection.state.name !== 'ended' && connection.socket.getBufferedAmount() === 0) {
      this.#slow.delete(connection);
    }
  }

  /** Closes with a close frame. Does nothing for a connection that has ended. */
  close(connection: Connection, code: number, reason: string): void {
    if (connection.state.name === 'ended') return;
    const trusted = connection.unauthenticated === null;
    this.closed(connection, code, reason);
    // A client that never closes its side would keep the socket for a while, so their number is limited.
    if (!trusted && !this.#parts.unauthenticatedSockets.mayLinger()) {
      connection.socket.close();
      return;
    }
    const text = Buffer.from(reason).subarray(0, REASON_BYTES).toString();
    if (connection === this.#corked) this.#closing = { code, reason: text };
    else connection.socket.end(code, text);
  }

  #cutUnauthenticated(connection: Connection, why: CutReason): void {
    if (why === 'late') this.close(connection, CLOSE.handshakeTimeout, 'H-8: no prove in time');
    // Without a close frame, to free the socket at once.
    else this.#cut(connection, CLOSE.overloaded, 'too many connections before welcome');
  }

  #trustedOrGone(connection: Connection): void {
    const { unauthenticated } = connection;
    connection.unauthenticated = null;
    if (unauthenticated) this.#parts.unauthenticatedSockets.leave(unauthenticated);
  }

  /** Releases a claimed session that is not needed. */
  release(device: string, session: number): void {
    this.#parts.releases.add(device, session);
  }

  /** Without a close frame: it would not get through, and the buffer must be freed. */
  #cut(connection: Connection, code: number, reason: string): void {
    this.closed(connection, code, reason);
    connection.socket.close();
  }

  /** The socket closed, or is closing. Only the first call for a connection counts. */
  closed(connection: Connection, code: number, reason: string): void {
    if (connection.state.name === 'ended') return;
    const { metrics, log } = this.#parts;
    this.#unauthenticated.delete(connection);
    this.#trustedOrGone(connection);
    this.#slow.delete(connection);
    if (this.#canary === connection) this.#canary = null;
    if (!isLoopback(connection)) metrics.closed.add(closeName(code));
    if (isAdmitted(connection)) {
      const { state } = connection;
      this.#parts.pendingSettled.take(connection);
      (connection as Connection).state = ENDED;
      this.#endSession(connection, state, code, reason);
    } else {
      connection.state = ENDED;
      log.debug({ connectionId: this.logId(connection), code, reason }, 'connection closed before welcome');
    }
    this.#parts.onChanged();
  }

  #endSession(connection: Connection, session: Session, code: number, reason: string): void {
    const { log, spool, releases, now } = this.#parts;
    const { device } = session;
    if ((this.#sessions.get(device) as Connection | undefined) === connection) this.#sessions.delete(device);
    if (code !== CLOSE.replaced) releases.add(device, session.session);
    if (isLoopback(connection)) return;
    spool.add({ kind: 'disconnected', device, session: session.session, code, reason, at: now() });
    log.info(
      {
        deviceId: device,
        connectionId: this.logId(connection),
        session: session.session,
        code,
        reason,
        durationMs: Date.now() - connection.openedAt,
        framesIn: connection.framesIn,
        framesOut: connection.framesOut,
        bytesOut: connection.bytesOut,
      },
      'session ended',
    );
  }
}
