/**
 * Checks that a port is available before any worker shares it: uWebSockets.js would silently share it with
 * another program.
 */
import { createServer } from 'node:net';

/** The port is unavailable; the message tells operators why and what to do. */
export class PortUnavailable extends Error {
  override readonly name = 'PortUnavailable';
}

/** Binds the port exclusively for a moment. Rejects with `PortUnavailable`. */
export async function probePort(host: string, port: number): Promise<void> {
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(unavailable(host, port, error)));
    server.listen({ host, port, exclusive: true }, resolve);
  });
  await new Promise<void>((resolve) => server.close(() => resolve()));
}

/** Returns a currently free port of `host`. Rejects with `PortUnavailable`. */
export async function freePort(host: string): Promise<number> {
  const server = createServer((socket) => socket.destroy());
  const port = await new Promise<number>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(unavailable(host, 0, error)));
    server.listen({ host, port: 0, exclusive: true }, () => {
      const address = server.address();
      resolve(typeof address === 'object' && address ? address.port : 0);
    });
  });
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return port;
}

const CAUSES: Record<string, (host: string, port: number) => string> = {
  EADDRINUSE: (_, port) =>
    `port ${port} is in use by another program: stop that program, or choose another port`,
  EACCES: (_, port) =>
    `port ${port} needs a privilege that this process lacks: choose a port from 1024 up, or grant ` +
    'CAP_NET_BIND_SERVICE',
  EADDRNOTAVAIL: (host) => `${host} is not an address of this machine: correct the option host`,
  ENOTFOUND: (host) => `${host} does not resolve to an address: correct the option host`,
};

function unavailable(host: string, port: number, error: NodeJS.ErrnoException): PortUnavailable {
  const cause = CAUSES[error.code ?? '']?.(host, port) ?? error.message;
  return new PortUnavailable(`cannot listen on ${host} port ${port}: ${cause}`, { cause: error });
}
