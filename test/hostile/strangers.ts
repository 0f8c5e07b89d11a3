/**
 * Sockets and requests of strangers, which use addresses in 127.0.9.x; honest devices use 127.0.0.1.
 */
import { type IncomingHttpHeaders, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { WebSocket } from 'ws';
import { SUBPROTOCOL, TUNNEL_SUBPROTOCOL } from '../../protocol/index.ts';

type AnySocket = Socket | WebSocket;

let turn = 0;

export function strangerAddress(): string {
  turn = (turn % 12) + 1;
  return `127.0.9.${turn}`;
}

export function tcp(url: string, say?: string): Socket {
  const { port } = new URL(url);
  const socket = connect({ port: Number(port), host: '127.0.0.1', localAddress: strangerAddress() });
  socket.on('error', () => {});
  if (say !== undefined) socket.on('connect', () => socket.write(say));
  return socket;
}

export function webSocket(url: string, protocol = SUBPROTOCOL): WebSocket {
  return new WebSocket(url, protocol, { localAddress: strangerAddress() }).on('error', () => {});
}

export function leg(url: string): WebSocket {
  return webSocket(`${url}tunnel`, TUNNEL_SUBPROTOCOL);
}

/** As many sockets as `count`, until `signal`: for each that closes another, a moment later. */
export function keepOpen(count: number, open: () => AnySocket, signal: AbortSignal): void {
  const sockets = new Set<AnySocket>();
  const one = () => {
    if (signal.aborted) return;
    const socket = open();
    sockets.add(socket);
    socket.on('close', () => {
      sockets.delete(socket);
      setTimeout(one, 20);
    });
  };
  for (let n = 0; n < count; n++) one();
  signal.addEventListener('abort', () => {
    for (const socket of sockets) {
      if ('destroy' in socket) socket.destroy();
      else socket.terminate();
    }
  });
}

export interface HttpAnswer {
  status: number;
  headers: IncomingHttpHeaders;
}

/** A request from a stranger's address; status 0 for a connection that was cut. */
export function ask(url: string, method: string, body: string, token?: string): Promise<HttpAnswer> {
  return new Promise((resolve) => {
    const sent = request(
      url,
      {
        method,
        agent: false,
        localAddress: '127.0.9.1',
        headers: {
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(body),
          ...(token !== undefined && { authorization: `Bearer ${token}` }),
        },
      },
      (response) => {
        response.resume();
        response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers }));
      },
    );
    sent.on('error', () => resolve({ status: 0, headers: {} }));
    sent.end(body);
  });
}

/** `many` of `once` side by side, again and again until `signal`. */
export async function again(many: number, once: () => Promise<unknown>, signal: AbortSignal): Promise<void> {
  await Promise.all(
    Array.from({ length: many }, async () => {
      while (!signal.aborted) await once();
    }),
  );
}
