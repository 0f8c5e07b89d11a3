/**
 * The sockets, and the only place that calls uWebSockets.js. It refuses or upgrades requests, answers probes,
 * forwards every event as a plain call, and starts and stops listening. WebSockets are accepted on `/`
 * (devices) and `/tunnel` (legs of tunnels).
 *
 * Many misuses of uWebSockets.js end the process without an exception: an exception that leaves `upgrade`, a
 * listen socket closed twice, a call on an ended socket, a time limit out of range. Hence the try/catch
 * around every callback, the token forgotten before it is closed, and `config.ts` checking numbers.
 */

import uWS from 'uWebSockets.js';
import { originOf } from '../../bus/addresses.ts';
import { readTlsFiles, type TlsFiles } from '../../bus/tls/certificate.ts';
import type { UnauthenticatedSocket, UnauthenticatedSockets } from '../../bus/unauthenticated-sockets.ts';
import { LIMITS, SUBPROTOCOL, TUNNEL_LIMITS, TUNNEL_PATH, TUNNEL_SUBPROTOCOL } from '../../protocol/index.ts';
import { type GatewayConfig, idleTimeoutSeconds } from '../config.ts';
import type { Refusal } from '../refusal.ts';
import type { Connection, DeviceSocket } from '../sessions/session.ts';
import { LEG_BUFFER_BYTES } from '../tunnels/leg.ts';
import type { SocketLeg } from '../tunnels/reception.ts';
import { AcceptedSockets } from './accepted-sockets.ts';
import { answerProbe, bodyOf, offers, refuse, tellToUpgrade } from './http-answers.ts';
import { PortUnavailable } from './port-probe.ts';

export interface PushServerEvents {
  /** A socket was accepted, or closed without having become a WebSocket. */
  socketsChanged(): void;
  /** Asked for every upgrade and every probe; `null` lets it pass. */
  refusal(prefix: string): Refusal | null;
  /** An upgrade without the right subprotocol was refused. */
  wrongProtocol(): void;
  probed(): void;
  open(socket: DeviceSocket, port: number, unauthenticated: UnauthenticatedSocket): Connection;
  /** `bytes` is only valid during the call. */
  message(connection: Connection, bytes: Uint8Array, isBinary: boolean): void;
  /** The socket is writable again. */
  writable(connection: Connection): void;
  /** `payload` is only valid during the call; empty for automatic pings. */
  pong(connection: Connection, payload: Uint8Array): void;
  /** Also called from inside `end` and `close`. */
  close(connection: Connection, code: number, reason: string): void;
  /** Asked for every upgrade of a leg. */
  legRefusal(prefix: string): Refusal | null;
  /** A tunnel leg, which receives its events directly. */
  legOpen(socket: DeviceSocket, unauthenticated: UnauthenticatedSocket): SocketLeg;
  /** A handler threw: always a bug. */
  fault(error: unknown): void;
}

interface UserData {
  connection: Connection | undefined;
}

interface LegData {
  leg: SocketLeg | undefined;
}

/** A server for one port and one certificate, so that the port of every connection is known. */
interface PortServer {
  readonly port: number;
  /** Counts the certificates. */
  readonly certificate: number;
  readonly app: uWS.TemplatedApp;
  token: uWS.us_listen_socket | null;
  connections: number;
  legs: number;
}

/** TLS 1.2 suites with forward secrecy and authenticated encryption; 1.3 has its own. */
const CIPHERS = 'ECDHE+AESGCM:ECDHE+CHACHA20';

/** LIBUS_LISTEN_DEFAULT: with SO_REUSEPORT; the module declares it and does not export it. */
const LISTEN_SHARED = 0;

/** Path of the probe that measures a gateway's distance (G-5). */
const PROBE_PATH = '/probe';

export interface PushServerParts {
  config: GatewayConfig;
  events: PushServerEvents;
  unauthenticatedSockets: UnauthenticatedSockets;
}

export class PushServer {
  readonly #config: GatewayConfig;
  readonly #events: PushServerEvents;
  readonly #servers = new Set<PortServer>();
  readonly #unauthenticatedSockets: UnauthenticatedSockets;
  readonly #accepted: AcceptedSockets;
  /** The upgrade in progress: `open` is called inside it. */
  #upgrading: UnauthenticatedSocket | null = null;
  #main: PortServer | null = null;
  #certificate = 0;
  #closed = false;

  /** Throws when the TLS files are not usable: uWebSockets.js itself would say nothing. */
  constructor({ config, events, unauthenticatedSockets }: PushServerParts) {
    this.#config = config;
    this.#events = events;
    this.#unauthenticatedSockets = unauthenticatedSockets;
    this.#accepted = new AcceptedSockets(unauthenticatedSockets, events.fault);
    if (config.tls) readTlsFiles(config.tls);
  }

  /** The latest port listened on; 0 before the first. */
  get port(): number {
    return this.#main?.port ?? 0;
  }

  get listening(): boolean {
    return this.#main?.token != null;
  }

  /** All ports listened on, that of `port` and former ones. */
  get ports(): number[] {
    return [...this.#servers].filter(({ token }) => token !== null).map(({ port }) => port);
  }

  /** Open connections through matching ports. */
  connectionsOn(counts: (port: number) => boolean): number {
    let count = 0;
    for (const server of this.#servers) if (counts(server.port)) count += server.connections;
    return count;
  }

  /**
   * Listens on `port` and keeps listening on earlier ports (see `keepOnly`). Throws `PortUnavailable` and
   * changes nothing on failure. The port is shared with any program that allows sharing: call `probePort`
   * first.
   */
  listen(port: number): void {
    this.#main = this.#listenOn(port);
    this.#forgetUnused();
  }

  /** Like `listen`, for a former port beside the main one. */
  listenAside(port: number): void {
    this.#listenOn(port);
  }

  /** Stops listening on all ports except the main one and these; open connections stay. */
  keepOnly(ports: readonly number[]): void {
    for (const server of this.#servers) {
      if (server !== this.#main && !ports.includes(server.port)) shut(server);
    }
    this.#forgetUnused();
  }

  #listenOn(port: number): PortServer {
    if (this.#closed) throw new PortUnavailable('the push server is closed');
    const certificate = this.#certificate;
    const same = (server: PortServer) => server.port === port && server.certificate === certificate;
    const server = [...this.#servers].find(same) ?? this.#open(port);
    if (server.token) return server;
    const token = tryListen(server.app, this.#config.host, port);
    if (!token) {
      throw new PortUnavailable(
        `cannot listen on ${this.#config.host} port ${port}: in use by another program, or not permitted`,
      );
    }
    server.token = token;
    this.#servers.add(server);
    // The server with the previous certificate.
    for (const other of this.#servers) if (other !== server && other.port === port) shut(other);
    return server;
  }

  /**
   * Reloads the TLS files: new connections get the new certificate, open ones stay. Throws when the files are
   * unusable, and changes nothing.
   */
  reloadTls(): void {
    if (!this.#config.tls || this.#closed) return;
    readTlsFiles(this.#config.tls);
    this.#certificate++;
    for (const old of [...this.#servers].filter(({ token }) => token !== null)) {
      const server = this.#listenOn(old.port);
      if (old === this.#main) this.#main = server;
    }
  }

  /** Stops listening, on all ports; open connections stay. */
  unlisten(): void {
    for (const server of this.#servers) shut(server);
  }

  /** Cuts every remaining connection. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.unlisten();
    this.#closed = true;
    for (const { app } of this.#servers) app.close();
    this.#servers.clear();
  }

  /** Removes former ports and certificates without connections. */
  #forgetUnused(): void {
    for (const server of this.#servers) {
      if (server === this.#main || server.token || server.connections > 0 || server.legs > 0) continue;
      server.app.close();
      this.#servers.delete(server);
    }
  }

  #open(port: number): PortServer {
    const { tls } = this.#config;
    const app = tls ? secureApp(tls) : uWS.App();
    const certificate = this.#certificate;
    const server: PortServer = { port, certificate, app, token: null, connections: 0, legs: 0 };
    const events = this.#events;
    server.app.filter((res, count) =>
      this.#guard(() => {
        this.#accepted.changed(res, Number(count));
        events.socketsChanged();
      }),
    );
    server.app.ws<UserData>('/', {
      compression: uWS.DISABLED,
      maxPayloadLength: LIMITS.frameBytes,
      maxBackpressure: this.#config.maxBackpressureBytes,
      closeOnBackpressureLimit: 0,
      idleTimeout: idleTimeoutSeconds(this.#config),
      maxLifetime: 0,
      sendPingsAutomatically: true,
      upgrade: (res, req, context) => {
        this.#upgrade<UserData>(res, req, context, SUBPROTOCOL, events.refusal, { connection: undefined });
      },
      open: (ws) => {
        server.connections++;
        // A connection that is redirected at once has no data afterwards.
        const data = ws.getUserData();
        this.#guard(() => {
          data.connection = events.open(ws, port, this.#opened(ws));
        });
      },
      message: (ws, message, isBinary) => {
        const { connection } = ws.getUserData();
        if (connection) this.#guard(() => events.message(connection, new Uint8Array(message), isBinary));
      },
      drain: (ws) => {
        const { connection } = ws.getUserData();
        if (connection) this.#guard(() => events.writable(connection));
      },
      pong: (ws, payload) => {
        const { connection } = ws.getUserData();
        if (connection) this.#guard(() => events.pong(connection, new Uint8Array(payload)));
      },
      close: (ws, code, message) => {
        server.connections--;
        this.#accepted.closed(ws);
        const { connection } = ws.getUserData();
        if (connection) this.#guard(() => events.close(connection, code, Buffer.from(message).toString()));
      },
    });
    this.#openLegs(server);
    server.app.get(PROBE_PATH, (res, req) => this.#guard(() => this.#probe(res, req)));
    server.app.any('/*', (res, req) =>
      this.#guard(() => {
        const body = bodyOf(req);
        if (body === 'some') res.close();
        else this.#accepted.answer(res, body, () => tellToUpgrade(res));
      }),
    );
    return server;
  }

  #openLegs(server: PortServer): void {
    const events = this.#events;
    server.app.ws<LegData>(TUNNEL_PATH, {
      compression: uWS.DISABLED,
      maxPayloadLength: TUNNEL_LIMITS.messageBytes,
      maxBackpressure: LEG_BUFFER_BYTES,
      closeOnBackpressureLimit: 0,
      // Only a backstop: legs and gateway ping each other.
      idleTimeout: 240,
      maxLifetime: 0,
      sendPingsAutomatically: false,
      upgrade: (res, req, context) => {
        this.#upgrade<LegData>(res, req, context, TUNNEL_SUBPROTOCOL, events.legRefusal, {
          leg: undefined,
        });
      },
      open: (ws) => {
        server.legs++;
        this.#guard(() => {
          ws.getUserData().leg = events.legOpen(ws, this.#opened(ws));
        });
      },
      message: (ws, message, isBinary) => {
        const { leg } = ws.getUserData();
        if (leg) this.#guard(() => leg.message(new Uint8Array(message), isBinary));
      },
      close: (ws) => {
        server.legs--;
        this.#accepted.closed(ws);
        const { leg } = ws.getUserData();
        if (leg) this.#guard(() => leg.closedByPeer());
      },
    });
  }

  #upgrade<Data>(
    res: uWS.HttpResponse,
    req: uWS.HttpRequest,
    context: uWS.us_socket_context_t,
    subprotocol: string,
    refusalOf: (prefix: string) => Refusal | null,
    data: Data,
  ): void {
    try {
      const body = bodyOf(req);
      if (body === 'some') {
        res.close();
        return;
      }
      const origin = originOf(new Uint8Array(res.getRemoteAddress()));
      const refusal = refusalOf(origin.prefix);
      if (refusal) {
        this.#accepted.answer(res, body, () =>
          refuse(res, '503 Service Unavailable', refusal.reason, refusal),
        );
        return;
      }
      if (!offers(req.getHeader('sec-websocket-protocol'), subprotocol)) {
        this.#events.wrongProtocol();
        const reason = `the WebSocket must offer subprotocol ${subprotocol}`;
        this.#accepted.answer(res, body, () => refuse(res, '400 Bad Request', reason));
        return;
      }
      const key = req.getHeader('sec-websocket-key');
      const extensions = req.getHeader('sec-websocket-extensions');
      this.#accepted.upgrade(res, body, origin, (unauthenticated) => {
        this.#upgrading = unauthenticated;
        res.upgrade(data, key, subprotocol, extensions, context);
      });
    } catch (error) {
      this.#events.fault(error);
    }
  }

  /** Takes the unauthenticated socket of the WebSocket that opened. */
  #opened(ws: uWS.WebSocket<UserData> | uWS.WebSocket<LegData>): UnauthenticatedSocket {
    this.#accepted.opened(ws);
    const unauthenticated = this.#upgrading;
    this.#upgrading = null;
    if (unauthenticated && !unauthenticated.left) return unauthenticated;
    const origin = originOf(new Uint8Array(ws.getRemoteAddress()));
    return this.#unauthenticatedSockets.add({ cut: () => ws.close() }, origin, 'handshake');
  }

  /**
   * G-5. A client that would be refused gets the refusal here: a gateway that admits nobody must not count as
   * near.
   */
  #probe(res: uWS.HttpResponse, req: uWS.HttpRequest): void {
    const body = bodyOf(req);
    if (body === 'some') {
      res.close();
      return;
    }
    const { prefix } = originOf(new Uint8Array(res.getRemoteAddress()));
    const refusal = this.#events.refusal(prefix);
    if (!refusal) this.#events.probed();
    this.#accepted.answer(res, body, () => {
      if (refusal) refuse(res, '503 Service Unavailable', refusal.reason, refusal);
      else answerProbe(res, this.#config.name);
    });
  }

  #guard(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#events.fault(error);
    }
  }
}

function tryListen(app: uWS.TemplatedApp, host: string, port: number): uWS.us_listen_socket | null {
  // The callback comes before `listen` returns. The type declarations lack host and options together.
  const listen = app.listen as unknown as (
    host: string,
    port: number,
    options: number,
    listening: (token: uWS.us_listen_socket | false) => void,
  ) => void;
  let token: uWS.us_listen_socket | null = null;
  listen.call(app, host, port, LISTEN_SHARED, (socket) => {
    token = socket || null;
  });
  return token;
}

/** Forgets the token first: closing a listen socket twice ends the process. */
function shut(server: PortServer): void {
  const { token } = server;
  server.token = null;
  if (token) uWS.us_listen_socket_close(token);
}

/** uWebSockets.js reads the files at this point. */
function secureApp(files: TlsFiles): uWS.TemplatedApp {
  readTlsFiles(files);
  return uWS.SSLApp({
    cert_file_name: files.certFile,
    key_file_name: files.keyFile,
    ssl_ciphers: CIPHERS,
    ssl_prefer_low_memory_usage: true,
  });
}
