/**
 * The sockets, and the only place that knows uWebSockets.js. It refuses or upgrades, hands every event on as a plain
 * call, and listens and stops listening. WebSockets are accepted on `/` only.
 *
 * Much of what uWebSockets.js is used wrongly for ends the process without an exception: an exception leaving `upgrade`,
 * a listen socket closed twice, a call on a socket that ended, a time limit out of range. Hence the try/catch around
 * every callback, the token forgotten before it is closed, and `config.ts` checking numbers.
 */

import uWS from 'uWebSockets.js';
import { readFileSync } from 'node:fs';
import tls from 'node:tls';
import { LIMITS, SUBPROTOCOL } from '../protocol/index.ts';
import { type GatewayConfig, idleTimeoutSeconds } from './config.ts';
import type { Connection, DeviceSocket } from './session.ts';

/** Why a newcomer is refused before the upgrade, and after how many seconds it may try again. */
export interface Refusal {
  reason: string;
  retryAfterSeconds: number;
}

export interface PushServerEvents {
  /** Asked for every upgrade; `null` lets it pass. */
  refusal(): Refusal | null;
  /** An upgrade without our subprotocol was refused. */
  wrongProtocol(): void;
  open(socket: DeviceSocket): Connection;
  /** `bytes` is only valid during the call. */
  message(connection: Connection, bytes: Uint8Array, isBinary: boolean): void;
  /** The socket is writable again. */
  writable(connection: Connection): void;
  /** Also called for closings by `end` and `close`, from inside them. */
  close(connection: Connection, code: number, reason: string): void;
  /** A handler threw; never expected. */
  fault(error: unknown): void;
}

/** The port cannot be listened on. */
export class PortUnavailable extends Error {
  override readonly name = 'PortUnavailable';
}

interface UserData {
  connection: Connection | undefined;
}

/** TLS 1.2 suites with forward secrecy and authenticated encryption; 1.3 has its own. */
const CIPHERS = 'ECDHE+AESGCM:ECDHE+CHACHA20';

/** LIBUS_LISTEN_DEFAULT and LIBUS_LISTEN_EXCLUSIVE_PORT; the module declares them and does not export them. */
const LISTEN_SHARED = 0;
const LISTEN_EXCLUSIVE = 1;

export class PushServer {
  readonly #config: GatewayConfig;
  readonly #events: PushServerEvents;
  readonly #app: uWS.TemplatedApp;
  #token: uWS.us_listen_socket | null = null;
  #port = 0;
  #closed = false;

  /** Throws when the TLS files are not usable: uWebSockets.js itself would say nothing. */
  constructor(config: GatewayConfig, events: PushServerEvents) {
    this.#config = config;
    this.#events = events;
    this.#app = config.tls ? secureApp(config.tls) : uWS.App();
    this.#app.ws<UserData>('/', {
      compression: uWS.DISABLED,
      maxPayloadLength: LIMITS.frameBytes,
      maxBackpressure: config.maxBackpressureBytes,
      closeOnBackpressureLimit: 0,
      idleTimeout: idleTimeoutSeconds(config),
      maxLifetime: 0,
      sendPingsAutomatically: true,
      upgrade: (res, req, context) => this.#upgrade(res, req, context),
      open: (ws) => this.#guard(() => this.#open(ws)),
      message: (ws, message, isBinary) => {
        const { connection } = ws.getUserData();
        if (connection) this.#guard(() => events.message(connection, new Uint8Array(message), isBinary));
      },
      drain: (ws) => {
        const { connection } = ws.getUserData();
        if (connection) this.#guard(() => events.writable(connection));
      },
      close: (ws, code, message) => {
        const { connection } = ws.getUserData();
        if (connection) this.#guard(() => events.close(connection, code, Buffer.from(message).toString()));
      },
    });
    this.#app.any('/*', (res) => {
      this.#guard(() => {
        res
          .writeStatus('426 Upgrade Required')
          .writeHeader('Content-Type', 'text/plain; charset=utf-8')
          .end(
            `This is a Pushpoint gateway: connect a WebSocket to / with subprotocol ${SUBPROTOCOL}.\n`,
            true,
          );
      });
    });
  }

  /** The port listened on last; 0 before the first time. */
  get port(): number {
    return this.#port;
  }

  get listening(): boolean {
    return this.#token !== null;
  }

  /** A port nobody listens on at the moment. */
  freePort(): number {
    const probe = this.#tryListen(0, LISTEN_EXCLUSIVE);
    if (!probe) throw this.#unavailable(0);
    const port = uWS.us_socket_local_port(probe as unknown as uWS.us_socket);
    uWS.us_listen_socket_close(probe);
    return port;
  }

  /**
   * Listens on `port`, and only then stops listening where it did before. Throws `PortUnavailable` and
   * leaves everything as it was. Unless the port is meant to be shared an occupied one is noticed: uWebSockets.js would
   * quietly share it with whoever is there.
   */
  listen(port: number): void {
    if (this.#closed) throw new PortUnavailable('the push server is closed');
    if (this.#token && port === this.#port) return;
    if (!this.#config.sharePort) {
      const probe = this.#tryListen(port, LISTEN_EXCLUSIVE);
      if (!probe) throw this.#unavailable(port);
      uWS.us_listen_socket_close(probe);
    }
    const token = this.#tryListen(port, LISTEN_SHARED);
    if (!token) throw this.#unavailable(port);
    this.unlisten();
    this.#token = token;
    this.#port = port;
  }

  /** Stops listening; open connections stay. */
  unlisten(): void {
    const token = this.#token;
    this.#token = null;
    if (token) uWS.us_listen_socket_close(token);
  }

  /** Cuts every connection that is still there. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.unlisten();
    this.#closed = true;
    this.#app.close();
  }

  #unavailable(port: number): PortUnavailable {
    return new PortUnavailable(
      `cannot listen on ${this.#config.host} port ${port}: in use by another program, or not permitted`,
    );
  }

  #tryListen(port: number, options: number): uWS.us_listen_socket | null {
    // The callback comes before `listen` returns. The type declarations lack host and options together.
    const listen = this.#app.listen as unknown as (
      host: string,
      port: number,
      options: number,
      listening: (token: uWS.us_listen_socket | false) => void,
    ) => void;
    let token: uWS.us_listen_socket | null = null;
    listen.call(this.#app, this.#config.host, port, options, (socket) => {
      token = socket || null;
    });
    return token;
  }

  #upgrade(res: uWS.HttpResponse, req: uWS.HttpRequest, context: uWS.us_socket_context_t): void {
    try {
      res.onAborted(ignore);
      const refusal = this.#events.refusal();
      if (refusal) {
        refuse(res, '503 Service Unavailable', refusal.reason, refusal.retryAfterSeconds);
        return;
      }
      if (!offers(req.getHeader('sec-websocket-protocol'), SUBPROTOCOL)) {
        this.#events.wrongProtocol();
        refuse(res, '400 Bad Request', `the WebSocket must offer subprotocol ${SUBPROTOCOL}`);
        return;
      }
      const data: UserData = { connection: undefined };
      res.upgrade(
        data,
        req.getHeader('sec-websocket-key'),
        SUBPROTOCOL,
        req.getHeader('sec-websocket-extensions'),
        context,
      );
    } catch (error) {
      this.#events.fault(error);
    }
  }

  #open(ws: uWS.WebSocket<UserData>): void {
    ws.getUserData().connection = this.#events.open(ws);
  }

  #guard(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#events.fault(error);
    }
  }
}

function ignore(): void {}

function refuse(res: uWS.HttpResponse, status: string, reason: string, retryAfterSeconds?: number): void {
  res.cork(() => {
    res.writeStatus(status).writeHeader('Content-Type', 'text/plain; charset=utf-8');
    if (retryAfterSeconds !== undefined) res.writeHeader('Retry-After', String(retryAfterSeconds));
    res.end(`${reason}\n`, true);
  });
}

/** Whether the comma list of a Sec-WebSocket-Protocol header names `protocol` (RFC 6455, 4.1). */
export function offers(header: string, protocol: string): boolean {
  return header.split(',').some((item) => item.trim() === protocol);
}

function secureApp(files: { certFile: string; keyFile: string }): uWS.TemplatedApp {
  try {
    tls.createSecureContext({ cert: readFileSync(files.certFile), key: readFileSync(files.keyFile) });
  } catch (error) {
    throw new Error(`TLS files ${files.certFile} and ${files.keyFile} are not usable`, { cause: error });
  }
  return uWS.SSLApp({
    cert_file_name: files.certFile,
    key_file_name: files.keyFile,
    ssl_ciphers: CIPHERS,
    ssl_prefer_low_memory_usage: true,
  });
}
