/**
 * What a leg of a tunnel and its gateway say to each other: WebSocket text messages, each a JSON object whose
 * `t` names it (T-2 to T-5). The gateway never forwards them to the other leg.
 */
import { ID_PATTERN } from './limits.ts';
import { TunnelError } from './tunnel-frames.ts';
import { TUNNEL_LIMITS, TUNNEL_SIDES, type TunnelSide } from './tunnels.ts';

/** First message of a leg (T-2). `worker`: number of the worker that has the tunnel. */
export interface TunnelJoin {
  t: 'join';
  tunnel: string;
  worker: number;
  side: TunnelSide;
  ticket: string;
}

/** First message of a leg that comes back (T-4). */
export interface TunnelResume {
  t: 'resume';
  tunnel: string;
  worker: number;
  side: TunnelSide;
  secret: string;
}

export type LegMessage =
  | TunnelJoin
  | TunnelResume
  | { t: 'ping' }
  | { t: 'pong' }
  /** Streams open now; from the device's leg only, for people. */
  | { t: 'stats'; streams: number }
  /** This end closes the tunnel. `moved`: it goes on at another gateway. */
  | { t: 'end'; reason: string };

export type LegGatewayMessage =
  /** The leg has joined. `resume`: the secret for coming back, valid once. */
  | { t: 'joined'; resume: string; idleMs: number; lifeMs: number; maxBytes: number }
  /**
   * The leg is rejected, and the gateway closes. `reason` is a `TunnelRefusal` or a value of a later version.
   */
  | { t: 'refused'; reason: string }
  /** Whether the other leg is there; `pair` grows each time the two come together (T-7). */
  | { t: 'peer'; here: boolean; pair: number }
  | { t: 'ping' }
  | { t: 'pong' }
  /** The gateway is leaving: the tunnel should move to another one within `withinMs` (T-5). */
  | { t: 'move'; withinMs: number }
  /** The tunnel is over; the gateway closes. */
  | { t: 'end'; reason: string };

const SECRET = new RegExp(`^[A-Za-z0-9_-]{${TUNNEL_LIMITS.secretLength}}$`);

export function encodeTunnelMessage(message: LegMessage | LegGatewayMessage): string {
  return JSON.stringify(message);
}

/** `null` for a message of a later version. Throws `TunnelError` for an invalid message (T-2). */
export function decodeLegMessage(text: string): LegMessage | null {
  const message = parse(text);
  switch (message.t) {
    case 'join':
      return { t: 'join', ...whose(message), ticket: secret(message.ticket) };
    case 'resume':
      return { t: 'resume', ...whose(message), secret: secret(message.secret) };
    case 'ping':
    case 'pong':
      return { t: message.t };
    case 'stats':
      return { t: 'stats', streams: integer(message.streams, 'streams', 1_000_000) };
    case 'end':
      return { t: 'end', reason: reasonOf(message.reason) };
    default:
      return null;
  }
}

/** `null` for a message of a later version. Throws `TunnelError` for an invalid message (T-2). */
export function decodeLegGatewayMessage(text: string): LegGatewayMessage | null {
  const message = parse(text);
  switch (message.t) {
    case 'joined':
      return {
        t: 'joined',
        resume: secret(message.resume),
        idleMs: integer(message.idleMs, 'idleMs'),
        lifeMs: integer(message.lifeMs, 'lifeMs'),
        maxBytes: integer(message.maxBytes, 'maxBytes'),
      };
    case 'peer':
      if (typeof message.here !== 'boolean') throw new TunnelError('T-2', 'here');
      return { t: 'peer', here: message.here, pair: integer(message.pair, 'pair', 2 ** 32 - 1) };
    case 'ping':
    case 'pong':
      return { t: message.t };
    case 'move':
      return { t: 'move', withinMs: integer(message.withinMs, 'withinMs') };
    case 'refused':
    case 'end':
      return { t: message.t, reason: reasonOf(message.reason) };
    default:
      return null;
  }
}

function parse(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new TunnelError('T-2', 'not JSON');
  }
  if (typeof value !== 'object' || value === null || typeof (value as { t?: unknown }).t !== 'string') {
    throw new TunnelError('T-2', 'not an object with t');
  }
  return value as Record<string, unknown>;
}

function whose({
  tunnel,
  worker,
  side,
}: Record<string, unknown>): Pick<TunnelJoin, 'tunnel' | 'worker' | 'side'> {
  if (typeof tunnel !== 'string' || !ID_PATTERN.test(tunnel)) throw new TunnelError('T-2', 'tunnel');
  const known = TUNNEL_SIDES.find((name) => name === side);
  if (known === undefined) throw new TunnelError('T-2', 'side');
  return { tunnel, worker: integer(worker, 'worker', 1_023), side: known };
}

function secret(value: unknown): string {
  if (typeof value === 'string' && SECRET.test(value)) return value;
  throw new TunnelError('T-2', 'not a valid secret');
}

function reasonOf(value: unknown): string {
  if (typeof value === 'string' && value.length <= TUNNEL_LIMITS.reasonLength) return value;
  throw new TunnelError('T-2', 'reason');
}

function integer(value: unknown, what: string, max = Number.MAX_SAFE_INTEGER): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= max) return value;
  throw new TunnelError('T-2', what);
}
