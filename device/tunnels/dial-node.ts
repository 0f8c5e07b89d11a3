import { WebSocket } from 'ws';
import { TUNNEL_LIMITS, TUNNEL_SUBPROTOCOL } from '../../protocol/index.ts';
import type { LegDial } from '../../tunnel/index.ts';

export interface LegDialOptions {
  /** Certificate authorities to trust instead of the system's, PEM. */
  ca?: string | Buffer | (string | Buffer)[];
  /** Longest time for the TCP, TLS and HTTP part, milliseconds; default 10 s. */
  handshakeTimeoutMs?: number;
}

/** HTTP answers of something that has no tunnels, and never will while it is what it is. */
const NO_TUNNELS = new Set([400, 404, 426]);
const LOOPBACK = /^(127\.[0-9.]+|\[::1\]|localhost)$/;

/** Dials the legs of tunnels with the `ws` package. */
export function wsLegDial(options: LegDialOptions = {}): LegDial {
  return (url, events) => {
    const { protocol, hostname } = new URL(url);
    // RFC 6455 masks what clients send so that proxies in between do not take it for requests of another kind. Nobody in between
    // can read what is encrypted or stays on this machine, and masking takes more time than all else here.
    const unmasked = protocol === 'wss:' || LOOPBACK.test(hostname);
    const socket = new WebSocket(url, TUNNEL_SUBPROTOCOL, {
      perMessageDeflate: false,
      maxPayload: TUNNEL_LIMITS.frameBytes,
      handshakeTimeout: options.handshakeTimeoutMs ?? 10_000,
      followRedirects: false,
      skipUTF8Validation: true,
      ...(unmasked ? { generateMask: (mask: Buffer) => void mask.fill(0) } : {}),
      ...(options.ca ? { ca: options.ca } : {}),
    });
    let fault = '';
    let nobody = false;
    socket.binaryType = 'nodebuffer';
    socket.on('open', () => events.opened());
    socket.on('message', (data, isBinary) => {
      if (isBinary) events.binary(data as Buffer);
      else events.text(data.toString());
    });
    socket.on('unexpected-response', (request, response) => {
      fault = `HTTP ${response.statusCode}`;
      nobody = NO_TUNNELS.has(response.statusCode ?? 0);
      response.resume();
      request.destroy();
      socket.terminate();
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      fault ||= error.message || error.code || 'no connection';
      nobody ||= error.code === 'ECONNREFUSED' || isRefused(error);
    });
    socket.on('close', (code, reason) => {
      events.closed({ code, reason: reason.toString() || fault, ...(nobody ? { nobody } : {}) });
    });
    return {
      sendBinary: (frame) => socket.send(frame),
      sendText: (text) => socket.send(text),
      close: (code, reason) => socket.close(code, reason.slice(0, 40)),
      terminate: () => socket.terminate(),
    };
  };
}

/** Several addresses were tried, and nobody listens at any of them. */
function isRefused(error: unknown): boolean {
  return (
    error instanceof AggregateError &&
    error.errors.every((each: NodeJS.ErrnoException) => each.code === 'ECONNREFUSED')
  );
}
