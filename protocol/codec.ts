/**
 * Frames to messages and back. Decoding checks known fields strictly and ignores unknown ones (V-2), so that
 * either end may be newer than the other.
 */
import { pack, unpack } from '#msgpack';
import type { Edition } from './editions.ts';
import { REPORTABLE_STATES } from './execution-states.ts';
import { ProtocolError, scanFrame } from './frame-scan.ts';
import { ID_PATTERN, LIMITS } from './limits.ts';
import {
  type Beat,
  COMPLIANCE,
  type DeviceMessage,
  type GatewayAddress,
  type GatewayMessage,
  MEMBERSHIP_STATES,
  type MeasuredGateway,
  type OrderBody,
  type OrderTarget,
  type OtherInstallation,
} from './messages.ts';

export { ProtocolError } from './frame-scan.ts';

type Fields = Record<string, unknown>;

/** Encodes any value that fits in MessagePack; the shape is the caller's. */
export function encodeValue(value: unknown): Uint8Array<ArrayBuffer> {
  return pack(value);
}

function read(bytes: Uint8Array, depth: number): unknown {
  scanFrame(bytes, depth);
  try {
    return unpack(bytes);
  } catch {
    throw new ProtocolError('F-2', 'not one MessagePack value');
  }
}

/**
 * Decodes one MessagePack value of the types a frame may hold, of any length; deep enough for a batch of
 * receipts with `data` in them. Throws `ProtocolError`.
 */
export function decodeValue(bytes: Uint8Array): unknown {
  return read(bytes, LIMITS.depth + 4);
}

function decodeMap(bytes: Uint8Array): Fields {
  if (bytes.length > LIMITS.frameBytes) throw new ProtocolError('F-3', 'frame too long');
  const value = read(bytes, LIMITS.depth + 1);
  if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Uint8Array) {
    throw new ProtocolError('F-2', 'a frame is one map');
  }
  return value as Fields;
}

/* ---- fields ---- */

function text(fields: Fields, key: string, max: number): string {
  const value = fields[key];
  if (typeof value !== 'string' || value.length > max) {
    throw new ProtocolError('F-6', `${key}: text of at most ${max} characters`);
  }
  return value;
}

function optionalText(fields: Fields, key: string, max: number): string | undefined {
  return fields[key] === undefined || fields[key] === null ? undefined : text(fields, key, max);
}

function id(fields: Fields, key: string): string {
  const value = fields[key];
  if (typeof value !== 'string' || !ID_PATTERN.test(value)) {
    throw new ProtocolError('F-6', `${key}: an identifier`);
  }
  return value;
}

function integer(fields: Fields, key: string, min = 0, max = Number.MAX_SAFE_INTEGER): number {
  const value = fields[key];
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
    throw new ProtocolError('F-5', `${key}: an integer from ${min} to ${max}`);
  }
  return value;
}

function bytesOf(fields: Fields, key: string, min: number, max = min): Uint8Array<ArrayBuffer> {
  const value = fields[key];
  if (!(value instanceof Uint8Array) || value.length < min || value.length > max) {
    throw new ProtocolError('F-6', `${key}: ${min === max ? min : `${min} to ${max}`} bytes of binary`);
  }
  return new Uint8Array(value);
}

function oneOf<T extends string>(fields: Fields, key: string, values: readonly T[]): T {
  const value = fields[key];
  if (!(values as readonly unknown[]).includes(value)) {
    throw new ProtocolError('F-6', `${key}: one of ${values.join(', ')}`);
  }
  return value as T;
}

function list<T>(fields: Fields, key: string, max: number, item: (value: unknown) => T): T[] {
  const value = fields[key];
  if (!Array.isArray(value) || value.length > max) {
    throw new ProtocolError('F-6', `${key}: an array of at most ${max}`);
  }
  return value.map(item);
}

function edition(fields: Fields, key: string): Edition {
  const value = fields[key];
  if (!Array.isArray(value) || value.length !== 2) {
    throw new ProtocolError('F-6', `${key}: an epoch and a revision`);
  }
  return [integer({ epoch: value[0] }, 'epoch'), integer({ revision: value[1] }, 'revision')];
}

function gatewayAddress(value: unknown): GatewayAddress {
  if (typeof value !== 'object' || value === null) throw new ProtocolError('F-6', 'gateways: maps');
  return { name: id(value as Fields, 'name'), url: text(value as Fields, 'url', LIMITS.urlLength) };
}

function measuredGateway(value: unknown): MeasuredGateway {
  if (typeof value !== 'object' || value === null) throw new ProtocolError('F-6', 'measured: maps');
  return { name: id(value as Fields, 'name'), ms: integer(value as Fields, 'ms', 0, LIMITS.measuredMaxMs) };
}

/** A copy without undefined members: `delete` would make the object slow to read and to pack. */
function defined<T extends object>(value: T): T {
  const copy: Partial<T> = {};
  for (const key in value) if (value[key] !== undefined) copy[key] = value[key];
  return copy as T;
}

/* ---- device to gateway ---- */

/** Packed again, a value takes no more than so many times its bytes: short floats become long ones. */
const PACKED_AGAIN = 2;

/**
 * Throws `ProtocolError` for a message a gateway would close the connection for, such as one with NaN in its
 * `data`.
 */
export function encodeDeviceMessage(message: DeviceMessage): Uint8Array<ArrayBuffer> {
  const frame = pack(defined(message));
  decodeDeviceMessage(frame);
  return frame;
}

const PLAIN_BEAT: Readonly<Beat> = Object.freeze({ t: 'beat' });
const PLAIN_BEAT_FRAME = pack(PLAIN_BEAT);

/**
 * Recognises an empty heartbeat by its bytes: nearly all frames of an idle fleet are. `null` for any other
 * frame; `decodeDeviceMessage` decodes those.
 */
export function plainBeat(frame: Uint8Array): Readonly<Beat> | null {
  if (frame.length !== PLAIN_BEAT_FRAME.length) return null;
  for (let at = 0; at < frame.length; at++) if (frame[at] !== PLAIN_BEAT_FRAME[at]) return null;
  return PLAIN_BEAT;
}

/**
 * A device's frame as a message; `null` for a message of a later version, which is skipped (V-2).
 * Throws `ProtocolError`.
 */
export function decodeDeviceMessage(bytes: Uint8Array): DeviceMessage | null {
  const fields = decodeMap(bytes);
  switch (text(fields, 't', LIMITS.wordLength)) {
    case 'prove':
      return defined({
        t: 'prove' as const,
        device: id(fields, 'device'),
        sig: bytesOf(fields, 'sig', LIMITS.signatureBytes),
        software: text(fields, 'software', LIMITS.softwareLength),
        caps: list(fields, 'caps', LIMITS.capabilities, (value) =>
          text({ caps: value }, 'caps', LIMITS.capabilityLength),
        ),
        membership: edition(fields, 'membership'),
        name: optionalText(fields, 'name', LIMITS.nameLength),
        displaced: fields.displaced === true ? (true as const) : undefined,
      }) as DeviceMessage;
    case 'beat':
      return defined({
        t: 'beat' as const,
        policy: optionalText(fields, 'policy', LIMITS.policyLength),
        compliance:
          fields.compliance === undefined || fields.compliance === null
            ? undefined
            : oneOf(fields, 'compliance', COMPLIANCE),
        measured:
          fields.measured === undefined || fields.measured === null
            ? undefined
            : list(fields, 'measured', LIMITS.measured, measuredGateway),
      }) as DeviceMessage;
    case 'ack':
      return { t: 'ack', id: id(fields, 'id') };
    case 'progress':
      return defined({
        t: 'progress' as const,
        id: id(fields, 'id'),
        percent:
          fields.percent === undefined || fields.percent === null
            ? undefined
            : integer(fields, 'percent', 0, 100),
        note: optionalText(fields, 'note', LIMITS.noteLength),
      }) as DeviceMessage;
    case 'result': {
      const data = fields.data;
      const mayBeTooLong = bytes.length * PACKED_AGAIN > LIMITS.resultBytes;
      if (mayBeTooLong && data !== undefined && data !== null && pack(data).length > LIMITS.resultBytes) {
        throw new ProtocolError('R-4', `data: at most ${LIMITS.resultBytes} bytes`);
      }
      return defined({
        t: 'result' as const,
        id: id(fields, 'id'),
        state: oneOf(fields, 'state', REPORTABLE_STATES),
        reason: optionalText(fields, 'reason', LIMITS.reasonLength),
        data: data ?? undefined,
      }) as DeviceMessage;
    }
    default:
      return null;
  }
}

/* ---- gateway to device ---- */

export function encodeGatewayMessage(message: GatewayMessage): Uint8Array<ArrayBuffer> {
  return pack(defined(message));
}

/** Answers to heartbeats (B-2). All answers share one buffer, because only the time differs between them. */
export class BeatAnswers {
  readonly #frame = encodeGatewayMessage({ t: 'beat', time: Date.now() });
  // The last field is the time, a float64.
  readonly #time = new DataView(this.#frame.buffer, this.#frame.length - Float64Array.BYTES_PER_ELEMENT);

  /** The frame is valid until the next call. */
  at(time: number): Uint8Array<ArrayBuffer> {
    this.#time.setFloat64(0, time);
    return this.#frame;
  }
}

/** A gateway's frame as a message; `null` for one of a later version (V-2). Throws `ProtocolError`. */
export function decodeGatewayMessage(bytes: Uint8Array): GatewayMessage | null {
  const fields = decodeMap(bytes);
  switch (text(fields, 't', LIMITS.wordLength)) {
    case 'challenge':
      return {
        t: 'challenge',
        nonce: bytesOf(fields, 'nonce', LIMITS.nonceBytes),
        gateway: id(fields, 'gateway'),
        installation: id(fields, 'installation'),
        time: integer(fields, 'time'),
      };
    case 'welcome':
      return {
        t: 'welcome',
        session: integer(fields, 'session'),
        time: integer(fields, 'time'),
        heartbeatMs: integer(fields, 'heartbeatMs', LIMITS.heartbeatMinMs, LIMITS.heartbeatMaxMs),
        gateways: list(fields, 'gateways', LIMITS.gateways, gatewayAddress),
      };
    case 'beat':
      return { t: 'beat', time: integer(fields, 'time') };
    case 'order':
      return {
        t: 'order',
        body: bytesOf(fields, 'body', 1, LIMITS.frameBytes),
        sig: bytesOf(fields, 'sig', LIMITS.signatureBytes),
      };
    case 'settled':
      return {
        t: 'settled',
        id: id(fields, 'id'),
        state: text(fields, 'state', LIMITS.wordLength) as 'unknown',
      };
    case 'keep':
      return {
        t: 'keep',
        id: id(fields, 'id'),
        retryMs: integer(fields, 'retryMs', LIMITS.retryMinMs, LIMITS.retryMaxMs),
      };
    case 'update':
      return { t: 'update', gateways: list(fields, 'gateways', LIMITS.gateways, gatewayAddress) };
    case 'redirect':
      return {
        t: 'redirect',
        to: list(fields, 'to', LIMITS.gateways, gatewayAddress),
        reason: text(fields, 'reason', LIMITS.wordLength),
        withinMs: integer(fields, 'withinMs'),
      };
    default:
      return null;
  }
}

/* ---- signed bodies ---- */

/** Throws `ProtocolError` for a body that devices would drop. */
export function encodeOrderBody(body: OrderBody): Uint8Array<ArrayBuffer> {
  if (body.kind === 'command' && pack(body.args).length > LIMITS.argsBytes) {
    throw new ProtocolError('S-3', `args: at most ${LIMITS.argsBytes} bytes`);
  }
  const bytes = pack(body);
  decodeOrderBody(bytes);
  return bytes;
}

function orderTarget(value: unknown): OrderTarget {
  if (typeof value !== 'object' || value === null) throw new ProtocolError('S-4', 'target: a map');
  const fields = value as Fields;
  if ('device' in fields === 'group' in fields) {
    throw new ProtocolError('S-4', 'target: either a device or a group');
  }
  return 'device' in fields ? { device: id(fields, 'device') } : { group: id(fields, 'group') };
}

function otherInstallation(value: unknown): OtherInstallation {
  if (typeof value !== 'object' || value === null) throw new ProtocolError('F-6', 'to: a map');
  const fields = value as Fields;
  return {
    fingerprint: bytesOf(fields, 'fingerprint', LIMITS.publicKeyBytes),
    url: text(fields, 'url', LIMITS.urlLength),
  };
}

/**
 * The body of an order whose signature the caller has verified; `null` for a kind of a later version (V-2).
 * Throws `ProtocolError`.
 */
export function decodeOrderBody(bytes: Uint8Array): OrderBody | null {
  const fields = decodeMap(bytes);
  switch (text(fields, 'kind', LIMITS.wordLength)) {
    case 'command':
      return {
        kind: 'command',
        id: id(fields, 'id'),
        type: id(fields, 'type'),
        args: fields.args ?? null,
        target: orderTarget(fields.target),
        issuedAt: integer(fields, 'issuedAt'),
        expiresAt: integer(fields, 'expiresAt'),
        timeoutMs: integer(fields, 'timeoutMs', 1, LIMITS.timeoutMaxMs),
      };
    case 'cancel':
      return {
        kind: 'cancel',
        id: id(fields, 'id'),
        target: orderTarget(fields.target),
        issuedAt: integer(fields, 'issuedAt'),
        expiresAt: integer(fields, 'expiresAt'),
      };
    case 'membership': {
      const target = orderTarget(fields.target);
      if (!('device' in target)) throw new ProtocolError('S-7', 'a membership is for one device');
      const state = oneOf(fields, 'state', MEMBERSHIP_STATES);
      return {
        kind: 'membership',
        target,
        state,
        groups: list(fields, 'groups', LIMITS.groups, (value) => id({ groups: value }, 'groups')),
        epoch: integer(fields, 'epoch', 1),
        revision: integer(fields, 'revision', 1),
        ...(state === 'moved' && { to: otherInstallation(fields.to) }),
        issuedAt: integer(fields, 'issuedAt'),
      };
    }
    default:
      return null;
  }
}
