/**
 * Close codes (PROTOCOL.md, section "Closing"). The range alone tells a device what to do: 4000-4199 connect
 * again now, 4200-4399 connect again after a back-off, 4400-4599 try the other gateways, and then one at long
 * intervals. Every code outside 4000-4599 is read as "after a back-off" (C-2).
 *
 * The codes that mean more to a device than their range says are apart, so that pages carry no names that
 * their devices never need.
 */
export const DEVICE_CLOSE = {
  /** The gateway leaves; the last `redirect` names where to go. */
  draining: 4000,
  /** This device should be elsewhere: balance, or another group. */
  redirected: 4001,
  /** The gateway does not serve this device's group; the `redirect` before it lists those that do. */
  outOfScope: 4002,
  /** Too many connections, or too many at once. */
  overloaded: 4200,
  /** The gateway cannot reach a dependency that it needs to admit devices. */
  notReady: 4201,
  /** A newer connection of the same device took over. */
  replaced: 4205,
  /** The proof is invalid. */
  badProof: 4403,
} as const;

export const CLOSE = {
  ...DEVICE_CLOSE,
  /** The gateway lost the session's lease; the device must connect again. */
  sessionLost: 4003,
  /** No valid `prove` within the time limit. */
  handshakeTimeout: 4202,
  /** Nothing was heard from the device for too long. */
  heartbeatTimeout: 4203,
  /** The device did not read what was sent to it. */
  backpressure: 4204,
  /** An internal error of the gateway. */
  internal: 4206,
  /** The device sent more than it may in a second. */
  tooFast: 4207,
  /** A frame that violates PROTOCOL.md. */
  protocolError: 4400,
  /** No common version of the protocol. */
  unsupportedVersion: 4401,
  /** No such device: never enrolled, or deleted. */
  unknownDevice: 4402,
  /** An operator blocked this device. */
  blocked: 4404,
} as const;

export type CloseName = keyof typeof CLOSE;
export type CloseCode = (typeof CLOSE)[CloseName];

export type ReconnectAdvice = 'now' | 'back-off' | 'slow';

/** What a close code asks of a device (C-2). */
export function reconnectAdvice(code: number): ReconnectAdvice {
  if (code >= 4000 && code <= 4199) return 'now';
  if (code >= 4400 && code <= 4599) return 'slow';
  return 'back-off';
}

/** Made when it is first needed: devices do without it. */
let names: ReadonlyMap<number, CloseName> | undefined;

/** The name of a close code for logs and metrics; `other` for one that is not ours. */
export function closeName(code: number): CloseName | 'other' {
  names ??= new Map(Object.entries(CLOSE).map(([name, each]) => [each, name as CloseName]));
  return names.get(code) ?? 'other';
}
