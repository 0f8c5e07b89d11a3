/**
 * Connections to the HTTP API that have not shown an API token yet. As at gateways, they share one bound and
 * one time limit from accept, with a share for each address and prefix. So nobody without a token can keep
 * operators out, or take the descriptors that the database and Redis need.
 */
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { AddressList, originOfText } from '../../bus/addresses.ts';
import {
  type CutReason,
  type UnauthenticatedSocket,
  UnauthenticatedSockets,
} from '../../bus/unauthenticated-sockets.ts';
import type { HttpMetrics } from './metrics.ts';

const LIMIT_MAX = 1_000;
/** Share of the process's file descriptors. */
const DESCRIPTORS_SHARE = 0.25;
/** Time from accept to a request with a token, or to the end of the single answer that others get. */
const LIMIT_SECONDS = 30;
const SWEEP_MS = 1_000;

/** Call after authentication is set up. `limit`: most such connections. */
export function limitUnauthenticated(
  app: FastifyInstance,
  metrics: HttpMetrics,
  {
    proxies = [],
    limit = defaultLimit(),
  }: { proxies?: readonly string[] | undefined; limit?: number | undefined },
): void {
  const unauthenticatedSockets = new UnauthenticatedSockets({
    bound: () => limit,
    perAddress: Math.max(1, Math.floor(limit / 4)),
    shared: new AddressList(proxies.flatMap(addressesOf).join(',')),
    now: () => Math.floor(performance.now() / 1_000),
    limitTicks: LIMIT_SECONDS,
    cuts: { add: (reason) => metrics.unauthenticatedClosed.inc({ reason }) },
  });
  metrics.countUnauthenticated(() => unauthenticatedSockets.size);
  // A TLS socket is not the object that was accepted, but both have the same remote end.
  const known = new Map<string, UnauthenticatedSocket>();
  app.server.on('connection', (socket: Socket) => {
    const key = otherEnd(socket);
    const holder = { cut: (_why: CutReason) => void socket.destroy() };
    const unauthenticated = unauthenticatedSockets.add(holder, originOfText(socket.remoteAddress ?? ''));
    known.set(key, unauthenticated);
    socket.once('close', () => {
      unauthenticatedSockets.leave(unauthenticated);
      if (known.get(key) === unauthenticated) known.delete(key);
    });
  });
  app.addHook('onRequest', (request, _reply, done) => {
    if (request.caller && known.size > 0) {
      const key = otherEnd(request.raw.socket);
      const unauthenticated = known.get(key);
      if (unauthenticated) {
        unauthenticatedSockets.leave(unauthenticated);
        known.delete(key);
      }
    }
    done();
  });
  app.addHook('onSend', (request, reply, _payload, done) => {
    if (known.size > 0 && known.has(otherEnd(request.raw.socket))) reply.header('connection', 'close');
    done();
  });
  const timer = setInterval(() => unauthenticatedSockets.sweep(), SWEEP_MS);
  timer.unref();
  app.addHook('onClose', async () => clearInterval(timer));
}

function otherEnd({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}

/** In fastify's form: addresses, prefixes, and names of ranges. */
function addressesOf(proxy: string): string[] {
  switch (proxy) {
    case 'loopback':
      return ['127.0.0.0/8', '::1'];
    case 'linklocal':
      return ['169.254.0.0/16', 'fe80::/10'];
    case 'uniquelocal':
      return ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7'];
    default:
      // fastify also allows a dotted netmask; in that case only the address counts.
      return [/\/\d+\.\d+/.test(proxy) ? (proxy.split('/')[0] ?? '') : proxy];
  }
}

function defaultLimit(): number {
  try {
    const line = readFileSync('/proc/self/limits', 'utf8').match(/^Max open files\s+(\d+)/m)?.[1];
    return line === undefined ? LIMIT_MAX : Math.min(LIMIT_MAX, Math.floor(Number(line) * DESCRIPTORS_SHARE));
  } catch {
    // This system has no such file.
    return LIMIT_MAX;
  }
}
