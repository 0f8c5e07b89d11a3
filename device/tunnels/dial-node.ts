/**
 * Dials the legs of tunnels with a special WebSocket client: most of a tunnel's cost at its ends arises here,
 * and a general client allocates and copies for every message.
 */
import { createHash, randomBytes } from 'node:crypto';
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { TUNNEL_SUBPROTOCOL } from '../../protocol/index.ts';
import type { LegDial, LegSocket, LegSocketEvents } from '../../tunnel/index.ts';
import { connectThrough, proxyFor, secured } from '../platform/proxy-node.ts';
import { clientFrame, LegFrameReader, OPCODE } from './leg-frames.ts';

export interface LegDialOptions {
  /** Certificate authorities to trust instead of the system's, PEM. */
  ca?: string | Buffer | (string | Buffer)[];
  /** Longest time for the TCP, TLS and HTTP part, milliseconds; default 10 s. */
  handshakeTimeoutMs?: number;
}

/** HTTP statuses of a server without tunnels, which will not change by retrying. */
const NO_TUNNELS = new Set([400, 404, 426]);
const LOOPBACK = /^(127\.[0-9.]+|\[::1\]|localhost)$/;
const HEAD_BYTES = 16 * 1024;
/** Time for the other side to close the connection after a close frame. */
const CLOSE_MS = 5_000;
/**
 * Bytes that may wait to be sent; beyond that pings stay unanswered, so that a peer that never reads cannot
 * fill memory.
 */
const PONG_BACKLOG = 8 * 1024 * 1024;
/** RFC 6455, 1.3. */
const ACCEPT_SALT = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/** Dials the legs of tunnels over TCP or TLS. */
export function wsLegDial(options: LegDialOptions = {}): LegDial {
  return (url, events) => new NodeLegSocket(new URL(url), events, options);
}

class NodeLegSocket implements LegSocket {
  readonly #events: LegSocketEvents;
  /** `null` until the proxy has connected. */
  #socket: Socket | null = null;
  readonly #abort = new AbortController();
  readonly #masked: boolean;
  readonly #key = randomBytes(16).toString('base64');
  readonly #reader: LegFrameReader;
  /** The HTTP answer so far; `null` once it is read. */
  #head: Buffer | null = Buffer.alloc(0);
  #timer: NodeJS.Timeout | undefined;
  #corked = false;
  #closing = false;
  #code = 1006;
  #reason = '';
  #nobody = false;

  constructor(url: URL, events: LegSocketEvents, options: LegDialOptions) {
    const secure = url.protocol === 'wss:';
    // RFC 6455 masks what clients send so that proxies in between do not take it for requests of another
    // kind. Nobody in between can read what is encrypted or stays on this machine, and masking takes more
    // time than all else here.
    this.#masked = !secure && !LOOPBACK.test(url.hostname);
    this.#events = events;
    this.#reader = new LegFrameReader({
      message: (payload, isBinary) => {
        if (this.#closing) return;
        if (isBinary) events.binary(payload);
        else events.text(payload.toString());
      },
      control: (opcode, payload) => this.#control(opcode, payload),
      fault: (code, reason) => {
        this.close(code, reason);
        this.#socket?.destroy(new Error(reason));
      },
    });
    this.#timer = setTimeout(() => this.#give('no answer'), options.handshakeTimeoutMs ?? 10_000);
    // The caller attaches its listeners by the next turn.
    this.#dial(url, options).catch((error: Error) => {
      this.#reason ||= error.message;
      this.#closed();
    });
  }

  async #dial(url: URL, { ca }: LegDialOptions): Promise<void> {
    const secure = url.protocol === 'wss:';
    const proxy = proxyFor(url);
    if (proxy) {
      const way = await connectThrough(proxy, url, this.#abort.signal);
      const socket = secure ? secured(way, url, ca) : way;
      socket.on('data', (chunk: Buffer) => this.#readInto(chunk));
      this.#attach(socket, url, secure ? 'secureConnect' : null);
      return;
    }
    const host = url.hostname.replace(/^\[|\]$/g, '');
    const to = {
      host,
      port: Number(url.port) || (secure ? 443 : 80),
      noDelay: true,
      onread: {
        buffer: () => this.#reader.room,
        callback: (bytes: number, data: Uint8Array) => {
          this.#read(bytes, data);
          return true;
        },
      },
    };
    const servername = isIP(host) ? {} : { servername: host };
    const socket = secure ? connectTls({ ...to, ...servername, ...(ca ? { ca } : {}) }) : connectTcp(to);
    this.#attach(socket, url, secure ? 'secureConnect' : 'connect');
  }

  /** `ready` is the event after which the request is sent; `null`: now. */
  #attach(socket: Socket, url: URL, ready: 'connect' | 'secureConnect' | null): void {
    this.#socket = socket;
    if (ready) socket.on(ready, () => socket.write(this.#request(url)));
    else socket.write(this.#request(url));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.#reason ||= error.message || error.code || 'no connection';
      this.#nobody ||= error.code === 'ECONNREFUSED' || isRefused(error);
    });
    socket.on('end', () => socket.end());
    socket.on('close', () => this.#closed());
  }

  sendBinary(message: readonly Uint8Array[]): void {
    this.#send(OPCODE.binary, message);
  }

  sendText(text: string): void {
    this.#send(OPCODE.text, [Buffer.from(text)]);
  }

  close(code: number, reason: string): void {
    if (this.#head !== null) {
      this.terminate();
      return;
    }
    if (this.#closing) return;
    const payload = Buffer.alloc(2 + Buffer.byteLength(reason.slice(0, 40)));
    payload.writeUInt16BE(code, 0);
    payload.write(reason.slice(0, 40), 2);
    this.#send(OPCODE.close, [payload]);
    this.#closing = true;
    this.#timer = setTimeout(() => this.terminate(), CLOSE_MS);
  }

  terminate(): void {
    this.#reader.stop();
    this.#abort.abort();
    this.#socket?.destroy();
  }

  /** Gathers everything sent at one time into one write. */
  #send(opcode: number, payload: readonly Uint8Array[]): void {
    const socket = this.#socket;
    if (this.#closing || this.#head !== null || !socket?.writable) return;
    if (!this.#corked) {
      this.#corked = true;
      socket.cork();
      process.nextTick(() => {
        this.#corked = false;
        socket.uncork();
      });
    }
    for (const part of clientFrame(opcode, payload, this.#masked)) {
      if (part.length > 0) socket.write(part);
    }
  }

  #read(bytes: number, data: Uint8Array): void {
    if (this.#head === null) this.#reader.filled(bytes);
    else this.#answer(Buffer.concat([this.#head, data.subarray(0, bytes)]));
  }

  /** Data that did not arrive in the reader's own memory. */
  #readInto(chunk: Buffer): void {
    if (this.#head !== null) {
      this.#answer(Buffer.concat([this.#head, chunk]));
      return;
    }
    for (let from = 0; from < chunk.length; ) {
      const { room } = this.#reader;
      const part = chunk.subarray(from, from + room.length);
      room.set(part);
      this.#reader.filled(part.length);
      from += part.length;
    }
  }

  /** Reads the HTTP answer, as far as it has arrived. */
  #answer(head: Buffer): void {
    this.#head = head;
    const end = head.indexOf('\r\n\r\n');
    if (end < 0) {
      if (head.length > HEAD_BYTES) this.#give('an answer that is not HTTP');
      return;
    }
    const [first = '', ...lines] = head.subarray(0, end).toString('latin1').split('\r\n');
    const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(first)?.[1] ?? 0);
    if (status !== 101) {
      this.#nobody = NO_TUNNELS.has(status);
      this.#give(`HTTP ${status}`);
      return;
    }
    const field = (name: string) =>
      lines
        .find((line) => line.toLowerCase().startsWith(`${name}:`))
        ?.slice(name.length + 1)
        .trim() ?? '';
    const accept = createHash('sha1').update(`${this.#key}${ACCEPT_SALT}`).digest('base64');
    const agreed =
      field('upgrade').toLowerCase() === 'websocket' &&
      field('sec-websocket-accept') === accept &&
      field('sec-websocket-protocol') === TUNNEL_SUBPROTOCOL &&
      field('sec-websocket-extensions') === '';
    if (!agreed) {
      this.#give('an answer that is not the WebSocket asked for');
      return;
    }
    clearTimeout(this.#timer);
    this.#head = null;
    this.#events.opened();
    // Data after the answer.
    const rest = head.subarray(end + 4);
    if (rest.length > HEAD_BYTES) {
      this.#give('too much at once');
      return;
    }
    this.#reader.room.set(rest);
    this.#reader.filled(rest.length);
  }

  #control(opcode: number, payload: Buffer): void {
    if (opcode === OPCODE.ping && (this.#socket?.writableLength ?? 0) < PONG_BACKLOG) {
      this.#send(OPCODE.pong, [Buffer.from(payload)]);
    }
    if (opcode !== OPCODE.close) return;
    this.#reader.stop();
    this.#code = payload.length >= 2 ? payload.readUInt16BE(0) : 1005;
    this.#reason = payload.subarray(2).toString();
    this.close(this.#code === 1005 ? 1000 : this.#code, '');
    this.#socket?.end();
  }

  #request({ pathname, search, host }: URL): string {
    return [
      `GET ${pathname}${search} HTTP/1.1`,
      `Host: ${host}`,
      'Connection: Upgrade',
      'Upgrade: websocket',
      `Sec-WebSocket-Key: ${this.#key}`,
      'Sec-WebSocket-Version: 13',
      `Sec-WebSocket-Protocol: ${TUNNEL_SUBPROTOCOL}`,
      '\r\n',
    ].join('\r\n');
  }

  #give(reason: string): void {
    this.#reason ||= reason;
    this.terminate();
  }

  #closed(): void {
    clearTimeout(this.#timer);
    this.#reader.stop();
    this.#events.closed({
      code: this.#code,
      reason: this.#reason,
      ...(this.#nobody ? { nobody: true } : {}),
    });
  }
}

/** Several addresses were tried, and none of them has a listener. */
function isRefused(error: unknown): boolean {
  return (
    error instanceof AggregateError &&
    error.errors.every((each: NodeJS.ErrnoException) => each.code === 'ECONNREFUSED')
  );
}
