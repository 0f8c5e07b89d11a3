/**
 * Tunnels (PROTOCOL.md, section T): the vocabulary and limits that both legs, the gateway between them and
 * the administration server share. Frames are in `tunnel-frames.ts`, how they are sealed in `tunnel-seal.ts`,
 * what a leg and its gateway say to each other in `tunnel-messages.ts`.
 */

/** Subprotocol of a tunnel's legs; they dial `TUNNEL_PATH` of a gateway. */
export const TUNNEL_SUBPROTOCOL = 'pushpoint.tunnel.v1';
export const TUNNEL_PATH = '/tunnel';

export const TUNNEL_SIDES = ['operator', 'device'] as const;
export type TunnelSide = (typeof TUNNEL_SIDES)[number];

export const TUNNEL_LIMITS = {
  /** Bytes of a stream in one DATA frame. */
  dataBytes: 64 * 1024,
  /** Longest frame, its header included, before it is sealed (T-6). */
  frameBytes: 64 * 1024 + 40,
  /** What sealing adds to a frame: a counter and a tag (T-14). */
  sealBytes: 24,
  /** Longest binary message, a sealed frame, and longest text message, bytes. */
  messageBytes: 64 * 1024 + 64,
  textBytes: 4_096,
  /** Bytes of a stream that may be sent and not consumed. */
  streamWindow: 512 * 1024,
  /** Bytes of sealed DATA frames of all streams together that may be sent and not received. */
  tunnelWindow: 1024 * 1024,
  /** Streams open at once. */
  streams: 64,
  hostLength: 255,
  /** Longest reason, characters. */
  reasonLength: 256,
  /** Tickets and resume secrets: 32 random bytes, base64url without padding. */
  secretLength: 43,
  /** A tunnel's key, bytes (T-15). */
  keyBytes: 32,
  /** A ticket is valid for this long, milliseconds. */
  ticketMs: 60_000,
  /** Interval of pings from either end and the gateway, milliseconds; two missed answers end the leg. */
  pingMs: 25_000,
  /** How long the gateway waits for a dropped leg, milliseconds. */
  holdMs: 30_000,
} as const;

/** Default limits of a tunnel. */
export const TUNNEL_DEFAULTS = {
  /** Without a message either way, milliseconds. */
  idleMs: 10 * 60_000,
  lifeMs: 12 * 3_600_000,
  /** Both ways together; 0: no limit. */
  maxBytes: 0,
} as const;

/**
 * Why a tunnel ended. `closed`: somebody closed it. `not-joined`: a side did not come before its ticket
 * expired. `operator-left` and `device-left`: that side was away for too long, or left for good. `moved`: it
 * goes on at another gateway. `busy`: the gateway was at its limit. `gateway-left`: the gateway stopped
 * before it could be moved. `gateway-lost`: the gateway died. `forged`: a frame was changed, repeated or made
 * up between the two ends.
 */
export const TUNNEL_END_REASONS = [
  'closed',
  'not-joined',
  'operator-left',
  'device-left',
  'idle',
  'life',
  'bytes',
  'moved',
  'gateway-left',
  'gateway-lost',
  'busy',
  'protocol',
  'forged',
  'refused',
] as const;
export type TunnelEndReason = (typeof TUNNEL_END_REASONS)[number];

/**
 * Why a gateway does not let a leg join: text of `refused`. `unknown-tunnel`: not here, or over.
 * `wrong-worker`: the leg came to a process that cannot reach the tunnel's own; dialing again may help.
 * `busy`: too many tunnels or legs at the moment.
 */
export const TUNNEL_REFUSALS = [
  'unknown-tunnel',
  'bad-ticket',
  'used-ticket',
  'expired-ticket',
  'bad-secret',
  'wrong-worker',
  'busy',
  'protocol',
] as const;
export type TunnelRefusal = (typeof TUNNEL_REFUSALS)[number];

/**
 * Close codes of a leg; the ranges mean what those of a device's connection do (C-2): resume now, after a
 * pause, never.
 */
export const TUNNEL_CLOSE = {
  /** The gateway leaves, and the tunnel was not moved in time. */
  leaving: 4050,
  /** The leg did not read its data. */
  slow: 4250,
  /** Nothing was heard from the leg. */
  silent: 4251,
  /** The process that has the tunnel is gone or cannot be reached. */
  unreachable: 4252,
  /** No `join` or `resume` in time. */
  joinTimeout: 4253,
  internal: 4254,
  /** Too many tunnels or legs at the moment. */
  busy: 4255,
  /** The tunnel is over; the `end` before says why. */
  ended: 4450,
  /** The `refused` before says why. */
  refused: 4451,
  /** A newer leg of the same side took over. */
  replaced: 4452,
  /** A message that violates section T. */
  protocolError: 4453,
} as const;
export type TunnelCloseCode = (typeof TUNNEL_CLOSE)[keyof typeof TUNNEL_CLOSE];
