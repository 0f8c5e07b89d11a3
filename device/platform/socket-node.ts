import { WebSocket } from 'ws';
import { LIMITS, SUBPROTOCOL } from '../../protocol/index.ts';
import { connectUntil, proxyAgent } from './proxy-node.ts';
import { refusalGateways } from './refusal-gateways.ts';
import { retryAfterMs } from './retry-after.ts';
import type { Dial, SocketClosed } from './socket.ts';

export interface WsOptions {
  /** Certificate authorities to trust instead of the system's, PEM. */
  ca?: string | Buffer | (string | Buffer)[];
  /** Longest time for the TCP, TLS and HTTP part, milliseconds; default 15 s. */
  handshakeTimeoutMs?: number;
}

/** Dials with the `ws` package, through a proxy if the environment names one. */
export function wsDial(options: WsOptions = {}): Dial {
  return (url, events) => {
    const agent = proxyAgent(new URL(url), options);
    const handshakeTimeout = options.handshakeTimeoutMs ?? 15_000;
    const gone = new AbortController();
    const reach = AbortSignal.any([gone.signal, AbortSignal.timeout(handshakeTimeout)]);
    const socket = new WebSocket(url, SUBPROTOCOL, {
      perMessageDeflate: false,
      maxPayload: LIMITS.frameBytes,
      handshakeTimeout,
      followRedirects: false,
      ...(options.ca ? { ca: options.ca } : {}),
      ...(agent ? { agent, ...connectUntil(reach) } : {}),
    });
    let refusal: SocketClosed | undefined;
    let fault = '';
    socket.binaryType = 'nodebuffer';
    socket.on('open', () => events.opened());
    socket.on('message', (data, isBinary) => {
      // Text is not a frame (F-2); an empty one fails to decode, which closes the connection with the right
      // code.
      events.frame(isBinary ? (data as Buffer) : new Uint8Array(0));
    });
    socket.on('unexpected-response', (request, response) => {
      const after = retryAfterMs(response.headers['retry-after']);
      refusal = { code: 1006, reason: `HTTP ${response.statusCode}` };
      if (after !== undefined) refusal.retryAfterMs = after;
      const elsewhere = refusalGateways(response.headers['pushpoint-gateways']);
      if (elsewhere.length > 0) refusal.gateways = elsewhere;
      response.resume();
      request.destroy();
      // With this listener, ws leaves the rest to the caller, and reports the end itself after terminate.
      socket.terminate();
    });
    socket.on('error', (error) => {
      fault = error.message;
    });
    socket.on('close', (code, reason) => {
      gone.abort();
      events.closed(refusal ?? { code, reason: reason.toString() || fault });
    });
    return {
      send: (frame) => socket.send(frame),
      close: (code, reason) => socket.close(code, reason.slice(0, 40)),
      terminate: () => socket.terminate(),
      get bufferedBytes() {
        return socket.bufferedAmount;
      },
    };
  };
}
