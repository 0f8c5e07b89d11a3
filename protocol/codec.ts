/**
 * Frames to messages and back. Decoding checks known fields strictly and ignores unknown ones (V-2), so that
 * either end may be newer than the other.
 */
import { pack } from '#msgpack';
import type { Edition } from './editions.ts';
import {
  bytesOf,
  decode,
  decodeMap,
  defined,
  type Fields,
  id,
  integer,
  isGiven,
  list,
  mapOf,
  oneOf,
  optionalText,
  signedBody,
  text,
} from './fields.ts';
import { ProtocolError } from './frame-scan.ts';
import { LIMITS, MEASURING_LIMITS, SERVER_LIMITS } from './limits.ts';
import {
  type Authenticated,
  type Beat,
  type CommandOrder,
  type DeviceMessage,
  type GatewayAddress,
  type GatewayMessage,
  type GatewaysOrder,
  MEMBERSHIP_STATES,
  type MeasuredGateway,
  type OrderBody,
  type OrderTarget,
  type OtherInstallation,
  type Pass,
} from './messages.ts';
import { groupKeyName, sealedArgs, sealedFields } from './sealed.ts';
import { signedServerKeys } from './server-keys.ts';

export { ProtocolError } from './frame-scan.ts';

/** Encodes any value that fits in MessagePack; the shape is the caller's. */
export function encodeValue(value: unknown): Uint8Array<ArrayBuffer> {
  return pack(value);
}

/**
 * Decodes one MessagePack value of the types a frame may hold, of any length; deep enough for a batch of
 * receipts. Throws `ProtocolError`.
 */
export function decodeValue(bytes: Uint8Array): unknown {
  return decode(bytes, LIMITS.depth + 4);
}

function edition(fields: Fields, key: string): Edition {
  const value = fields[key];
  if (!Array.isArray(value) || value.length !== 2) {
    throw new ProtocolError('F-6', `${key}: an epoch and a revision`);
  }
  return [integer({ epoch: value[0] }, 'epoch'), integer({ revision: value[1] }, 'revision')];
}

function gatewayAddress(value: unknown): GatewayAddress {
  const fields = mapOf(value, 'gateways');
  return { name: id(fields, 'name'), url: text(fields, 'url', LIMITS.urlLength) };
}

/** Names of gateways, the best first (G-1). */
export function gatewayNames(fields: Fields, key: string): string[] {
  return list(fields, key, LIMITS.gateways, (name) => id({ [key]: name }, key));
}

function measuredGateway(value: unknown): MeasuredGateway {
  const fields = mapOf(value, 'measured');
  return { name: id(fields, 'name'), ms: integer(fields, 'ms', 0, MEASURING_LIMITS.measuredMaxMs) };
}

/* ---- device to gateway ---- */

/** The caller keeps to the limits: this checks nothing, so that browsers need not load what decodes it. */
export function encodeDeviceMessage(message: DeviceMessage): Uint8Array<ArrayBuffer> {
  return pack(defined(message));
}

const PLAIN_BEAT: Readonly<Beat> = /* @__PURE__ */ Object.freeze({ t: 'beat' });
const PLAIN_BEAT_FRAME = /* @__PURE__ */ pack(PLAIN_BEAT);

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
  const fields = decodeMap(bytes, LIMITS.frameBytes);
  switch (text(fields, 't', LIMITS.wordLength)) {
    case 'prove':
      return defined({
        t: 'prove' as const,
        device: id(fields, 'device'),
        sig: bytesOf(fields, 'sig', LIMITS.signatureBytes),
        software: text(fields, 'software', LIMITS.softwareLength),
        caps: list(fields, 'caps', SERVER_LIMITS.capabilities, (value) =>
          text({ caps: value }, 'caps', SERVER_LIMITS.capabilityLength),
        ),
        membership: edition(fields, 'membership'),
        keys: edition(fields, 'keys'),
        gateways: edition(fields, 'gateways'),
        name: optionalText(fields, 'name', LIMITS.nameLength),
        displaced: fields.displaced === true ? (true as const) : undefined,
      }) as DeviceMessage;
    case 'beat':
      return defined({
        t: 'beat' as const,
        status: isGiven(fields.status) ? status(fields.status) : undefined,
        measured:
          fields.measured === undefined || fields.measured === null
            ? undefined
            : list(fields, 'measured', MEASURING_LIMITS.measured, measuredGateway),
        pass: fields.pass === true ? (true as const) : undefined,
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
    case 'result':
      return { t: 'result', id: id(fields, 'id'), ...authenticated(fields, LIMITS.resultBytes) };
    case 'want':
      return { t: 'want', ...groupKeyName(fields) };
    default:
      return null;
  }
}

function status(value: unknown): Authenticated {
  return authenticated(mapOf(value, 'status'), LIMITS.statusBytes);
}

function authenticated(fields: Fields, max: number): Authenticated {
  return { body: bytesOf(fields, 'body', 1, max), mac: bytesOf(fields, 'mac', LIMITS.macBytes) };
}

/* ---- gateway to device ---- */

export function encodeGatewayMessage(message: GatewayMessage): Uint8Array<ArrayBuffer> {
  return pack(defined(message));
}

/**
 * Answers to heartbeats that settle the same commands, or none (B-2). They share one buffer, because only the
 * time differs between them.
 */
export class BeatAnswers {
  readonly #frame: Uint8Array<ArrayBuffer>;
  readonly #time: DataView;

  constructor(settled: readonly string[] = []) {
    this.#frame = encodeGatewayMessage({
      t: 'beat',
      ...(settled.length > 0 && { settled }),
      time: Date.now(),
    });
    // The last field is the time, a float64.
    const timeAt = this.#frame.byteOffset + this.#frame.length - Float64Array.BYTES_PER_ELEMENT;
    this.#time = new DataView(this.#frame.buffer, timeAt);
  }

  /** The frame is valid until the next call. */
  at(time: number): Uint8Array<ArrayBuffer> {
    this.#time.setFloat64(0, time);
    return this.#frame;
  }
}

/** A gateway's frame as a message; `null` for one of a later version (V-2). Throws `ProtocolError`. */
export function decodeGatewayMessage(bytes: Uint8Array): GatewayMessage | null {
  const fields = decodeMap(bytes, LIMITS.frameBytes);
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
        ...(isGiven(fields.pass) && { pass: signedBody(mapOf(fields.pass, 'pass'), LIMITS.passBytes) }),
        gateways: gatewayNames(fields, 'gateways'),
      };
    case 'beat':
      return {
        t: 'beat',
        time: integer(fields, 'time'),
        ...(isGiven(fields.settled) && { settled: settledIds(fields) }),
      };
    case 'order':
      return { t: 'order', ...signedBody(fields, LIMITS.frameBytes) };
    case 'pass':
      return { t: 'pass', ...signedBody(fields, LIMITS.passBytes) };
    case 'keys':
      return { t: 'keys', ...signedServerKeys(fields) };
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
    case 'key':
      return { t: 'key', ...groupKeyName(fields), ...sealedFields(fields, LIMITS.keyBytes) };
    case 'update':
      return { t: 'update', gateways: gatewayNames(fields, 'gateways') };
    case 'redirect':
      return {
        t: 'redirect',
        to: gatewayNames(fields, 'to'),
        reason: text(fields, 'reason', LIMITS.wordLength),
        withinMs: integer(fields, 'withinMs'),
      };
    default:
      return null;
  }
}

function settledIds(fields: Fields): string[] {
  return list(fields, 'settled', LIMITS.settled, (value) => id({ settled: value }, 'settled'));
}

/* ---- signed bodies ---- */

export function encodePass({ gateway, issuedAt, expiresAt }: Pass): Uint8Array<ArrayBuffer> {
  return pack({ kind: 'pass', gateway, issuedAt, expiresAt });
}

/** The body of a pass whose signature the caller has verified, or will. Throws `ProtocolError`. */
export function decodePass(bytes: Uint8Array): Pass {
  const fields = decodeMap(bytes, LIMITS.passBytes);
  oneOf(fields, 'kind', ['pass']);
  return {
    gateway: id(fields, 'gateway'),
    issuedAt: integer(fields, 'issuedAt'),
    expiresAt: integer(fields, 'expiresAt'),
  };
}

/** Throws `ProtocolError` for a body that devices would drop. */
export function encodeOrderBody(body: OrderBody): Uint8Array<ArrayBuffer> {
  if (body.kind === 'command' && pack(body.args).length > LIMITS.argsBytes) {
    throw new ProtocolError('S-3', `args: at most ${LIMITS.argsBytes} bytes`);
  }
  const bytes = pack(body.kind === 'command' && body.sealed ? withoutArgs(body) : body);
  if (body.kind === 'gateways') checkList(body, bytes.length);
  decodeOrderBody(bytes);
  return bytes;
}

/** What devices need not check (G-18). */
function checkList({ gateways }: GatewaysOrder, length: number): void {
  const names = new Set(gateways.map(({ name }) => name));
  if (names.size !== gateways.length || names.size === 0) {
    throw new ProtocolError('G-18', 'gateways: at least one, each with another name');
  }
  if (length > SERVER_LIMITS.gatewaysBytes) {
    throw new ProtocolError('G-18', `a list of at most ${SERVER_LIMITS.gatewaysBytes} bytes`);
  }
}

/** Sealed ones take their place. */
function withoutArgs({ args, ...body }: CommandOrder): Omit<CommandOrder, 'args'> {
  if (args !== null) throw new ProtocolError('X-3', 'either args or sealed');
  return body;
}

function orderTarget(value: unknown): OrderTarget {
  const fields = mapOf(value, 'target', 'S-4');
  if ('device' in fields === 'group' in fields) {
    throw new ProtocolError('S-4', 'target: either a device or a group');
  }
  return 'device' in fields ? { device: id(fields, 'device') } : { group: id(fields, 'group') };
}

function otherInstallation(value: unknown): OtherInstallation {
  const fields = mapOf(value, 'to');
  return {
    fingerprint: bytesOf(fields, 'fingerprint', LIMITS.publicKeyBytes),
    url: text(fields, 'url', LIMITS.urlLength),
  };
}

function argsOf(fields: Fields): Pick<CommandOrder, 'args' | 'sealed'> {
  const args = fields.args ?? null;
  if (!isGiven(fields.sealed)) return { args };
  if (args !== null) throw new ProtocolError('X-3', 'either args or sealed');
  return { args, sealed: sealedArgs(fields.sealed) };
}

/**
 * The body of an order whose signature the caller has verified; `null` for a kind of a later version (V-2).
 * Throws `ProtocolError`.
 */
export function decodeOrderBody(bytes: Uint8Array): OrderBody | null {
  const fields = decodeMap(bytes, LIMITS.frameBytes);
  switch (text(fields, 'kind', LIMITS.wordLength)) {
    case 'command':
      return {
        kind: 'command',
        id: id(fields, 'id'),
        type: id(fields, 'type'),
        ...argsOf(fields),
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
        ...(state === 'active' && { key: bytesOf(fields, 'key', LIMITS.publicKeyBytes) }),
        groups: list(fields, 'groups', LIMITS.groups, (value) => id({ groups: value }, 'groups')),
        epoch: integer(fields, 'epoch', 1),
        revision: integer(fields, 'revision', 1),
        ...(state === 'moved' && { to: otherInstallation(fields.to) }),
        issuedAt: integer(fields, 'issuedAt'),
      };
    }
    case 'gateways':
      return {
        kind: 'gateways',
        target: { group: id(mapOf(fields.target, 'target'), 'group') },
        epoch: integer(fields, 'epoch', 1),
        revision: integer(fields, 'revision', 1),
        gateways: list(fields, 'gateways', LIMITS.listedGateways, gatewayAddress),
        issuedAt: integer(fields, 'issuedAt'),
      };
    default:
      return null;
  }
}
