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
interface Door {
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
  readonly #doors = new Set<Door>();
  readonly #unauthenticatedSockets: UnauthenticatedSockets;
  readonly #accepted: AcceptedSockets;
  /** The upgrade in progress: `open` is called inside it. */
  #upgrading: UnauthenticatedSocket | null = null;
  #door: Door | null = null;
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
    return this.#door?.port ?? 0;
  }

  get listening(): boolean {
    return this.#door?.token != null;
  }

  /** All ports listened on, that of `port` and former ones. */
  get ports(): number[] {
    return [...this.#doors].filter(({ token }) => token !== null).map(({ port }) => port);
  }

  /** Open connections through matching ports. */
  connectionsOn(counts: (port: number) => boolean): number {
    let count = 0;
    for (const door of this.#doors) if (counts(door.port)) count += door.connections;
    return count;
  }

  /**
   * Listens on `port` and keeps listening on earlier ports (see `keepOnly`). Throws `PortUnavailable` and
   * changes nothing on failure. The port is shared with any program that allows sharing: call `probePort`
   * first.
   */
  listen(port: number): void {
    this.#door = this.#listenOn(port);
    this.#forgetUnused();
  }

  /** Like `listen`, for a former port beside the main one. */
  listenAside(port: number): void {
    this.#listenOn(port);
  }

  /** Stops listening on all ports except the main one and these; open connections stay. */
  keepOnly(ports: readonly number[]): void {
    for (const door of this.#doors) {
      if (door !== this.#door && !ports.includes(door.port)) shut(door);
    }
    this.#forgetUnused();
  }

  #listenOn(port: number): Door {
    if (this.#closed) throw new PortUnavailable('the push server is closed');
    const certificate = this.#certificate;
    const same = (door: Door) => door.port === port && door.certificate === certificate;
    const door = [...this.#doors].find(same) ?? this.#open(port);
    if (door.token) return door;
    const token = tryListen(door.app, this.#config.host, port);
    if (!token) {
      throw new PortUnavailable(
        `cannot listen on ${this.#config.host} port ${port}: in use by another program, or not permitted`,
      );
    }
    door.token = token;
    this.#doors.add(door);
    // The server with the previous certificate.
    for (const other of this.#doors) if (other !== door && other.port === port) shut(other);
    return door;
  }

  /**
   * Reloads the TLS files: new connections get the new certificate, open ones stay. Throws when the files are
   * unusable, and changes nothing.
   */
  reloadTls(): void {
    if (!this.#config.tls || this.#closed) return;
    readTlsFiles(this.#config.tls);
    this.#certificate++;
    for (const old of [...this.#doors].filter(({ token }) => token !== null)) {
      const door = this.#listenOn(old.port);
      if (old === this.#door) this.#door = door;
    }
  }

  /** Stops listening, on all ports; open connections stay. */
  unlisten(): void {
    for (const door of this.#doors) shut(door);
  }

  /** Cuts every remaining connection. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.unlisten();
    this.#closed = true;
    for (const { app } of this.#doors) app.close();
    this.#doors.clear();
  }

  /** Removes former ports and certificates without connections. */
  #forgetUnused(): void {
    for (const door of this.#doors) {
      if (door === this.#door || door.token || door.connections > 0 || door.legs > 0) continue;
      door.app.close();
      this.#doors.delete(door);
    }
  }

  #open(port: number): Door {
    const { tls } = this.#config;
    const app = tls ? secureApp(tls) : uWS.App();
    const certificate = this.#certificate;
    const door: Door = { port, certificate, app, token: null, connections: 0, legs: 0 };
    const events = this.#events;
    door.app.filter((res, count) =>
      this.#guard(() => {
        this.#accepted.changed(res, Number(count));
        events.socketsChanged();
      }),
    );
    door.app.ws<UserData>('/', {
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
        door.connections++;
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
        door.connections--;
        if (this.#accepted.webSocket === ws) this.#accepted.webSocket = null;
        const { connection } = ws.getUserData();
        if (connection) this.#guard(() => events.close(connection, code, Buffer.from(message).toString()));
      },
    });
    this.#openLegs(door);
    door.app.get(PROBE_PATH, (res, req) => this.#guard(() => this.#probe(res, req)));
    door.app.any('/*', (res, req) =>
      this.#guard(() => {
        if (!closedForBody(res, req)) this.#accepted.answer(res, () => tellToUpgrade(res));
      }),
    );
    return door;
  }

  #openLegs(door: Door): void {
    const events = this.#events;
    door.app.ws<LegData>(TUNNEL_PATH, {
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
        door.legs++;
        this.#guard(() => {
          ws.getUserData().leg = events.legOpen(ws, this.#opened(ws));
        });
      },
      message: (ws, message, isBinary) => {
        const { leg } = ws.getUserData();
        if (leg) this.#guard(() => leg.message(new Uint8Array(message), isBinary));
      },
      close: (ws) => {
        door.legs--;
        if (this.#accepted.webSocket === ws) this.#accepted.webSocket = null;
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
      if (closedForBody(res, req)) return;
      const origin = originOf(new Uint8Array(res.getRemoteAddress()));
      const refusal = refusalOf(origin.prefix);
      if (refusal) {
        this.#accepted.answer(res, () => refuse(res, '503 Service Unavailable', refusal.reason, refusal));
        return;
      }
      if (!offers(req.getHeader('sec-websocket-protocol'), subprotocol)) {
        this.#events.wrongProtocol();
        const reason = `the WebSocket must offer subprotocol ${subprotocol}`;
        this.#accepted.answer(res, () => refuse(res, '400 Bad Request', reason));
        return;
      }
      const key = req.getHeader('sec-websocket-key');
      const extensions = req.getHeader('sec-websocket-extensions');
      this.#accepted.upgrade(res, origin, (unauthenticated) => {
        this.#upgrading = unauthenticated;
        res.upgrade(data, key, subprotocol, extensions, context);
      });
    } catch (error) {
      this.#events.fault(error);
    }
  }

  /** Takes the unauthenticated socket of the WebSocket that opened. */
  #opened(ws: uWS.WebSocket<UserData> | uWS.WebSocket<LegData>): UnauthenticatedSocket {
    this.#accepted.webSocket = ws;
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
    if (closedForBody(res, req)) return;
    const { prefix } = originOf(new Uint8Array(res.getRemoteAddress()));
    const refusal = this.#events.refusal(prefix);
    if (!refusal) this.#events.probed();
    this.#accepted.answer(res, () => {
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

/**
 * Closes a socket whose request announces a body. No route takes one, and its sender could not be identified
 * (`accepted-sockets.ts`). This includes length 0: for a request in pieces, uWebSockets.js then calls no data
 * handler.
 */
function closedForBody(res: uWS.HttpResponse, req: uWS.HttpRequest): boolean {
  if (req.getHeader('content-length') === '' && req.getHeader('transfer-encoding') === '') return false;
  res.close();
  return true;
}

function answerProbe(res: uWS.HttpResponse, gateway: string): void {
  res.cork(() => {
    writeForBrowsers(res.writeStatus('204 No Content'))
      .writeHeader('Pushpoint-Gateway', gateway)
      .endWithoutBody();
  });
}

/** Forgets the token first: closing a listen socket twice ends the process. */
function shut(door: Door): void {
  const { token } = door;
  door.token = null;
  if (token) uWS.us_listen_socket_close(token);
}

function tellToUpgrade(res: uWS.HttpResponse): void {
  res.cork(() => {
    res
      .writeStatus('426 Upgrade Required')
      .writeHeader('Content-Type', 'text/plain; charset=utf-8')
      .end(`This is a Pushpoint gateway: connect a WebSocket to / with subprotocol ${SUBPROTOCOL}.\n`, true);
  });
}

/** Web pages of any origin may read the answer, and caches must not store it. */
function writeForBrowsers(res: uWS.HttpResponse): uWS.HttpResponse {
  return res
    .writeHeader('Cache-Control', 'no-store')
    .writeHeader('Access-Control-Allow-Origin', '*')
    .writeHeader('Access-Control-Expose-Headers', 'Pushpoint-Gateway, Pushpoint-Gateways, Retry-After');
}

function refuse(
  res: uWS.HttpResponse,
  status: string,
  reason: string,
  { retryAfterSeconds, gateways }: Partial<Refusal> = {},
): void {
  res.cork(() => {
    writeForBrowsers(res.writeStatus(status)).writeHeader('Content-Type', 'text/plain; charset=utf-8');
    if (retryAfterSeconds !== undefined) res.writeHeader('Retry-After', String(retryAfterSeconds));
    if (gateways) res.writeHeader('Pushpoint-Gateways', gateways);
    res.end(`${reason}\n`, true);
  });
}

/** Whether the comma list of a Sec-WebSocket-Protocol header names `protocol` (RFC 6455, 4.1). */
export function offers(header: string, protocol: string): boolean {
  return header.split(',').some((item) => item.trim() === protocol);
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
