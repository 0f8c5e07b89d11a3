/**
 * Checks the shape of receipts from the bus: no receipt may stop the ledger, whether somebody wrote it into
 * Redis or a gateway of another version made it. Receipts of a wrong shape are put aside and not tried again.
 * Control characters in texts of devices become spaces, so that they deceive no terminal and no log; reasons
 * and notes keep newlines and tabs.
 */
import { type Receipt, TUNNEL_EVENTS } from '../../bus/bus.ts';
import { type Edition, ID_PATTERN, LIMITS, MEASURING_LIMITS, SERVER_LIMITS } from '../../protocol/index.ts';

/** Longest text that a gateway sends about itself or a socket: names of workers, incarnations, addresses. */
const GATEWAY_TEXT = 256;
const TUNNEL_REASON = 512;
const DEVICES_MAX = 100_000;
const CONTROL = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/u;
const EVERY_CONTROL = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;
const EVERY_UNSAFE = /(?![\t\n])[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;

/** Throws an `Error` that says what is wrong with `value`. */
type Check<T> = (value: unknown) => T;
type Shape<T> = { [K in keyof T]-?: Check<T[K]> };
type Kind = Receipt['kind'];

export interface CheckedReceipts {
  receipts: Receipt[];
  wrong: { receipt: unknown; why: string }[];
}

export function checkReceipts(batch: readonly unknown[]): CheckedReceipts {
  const checked: CheckedReceipts = { receipts: [], wrong: [] };
  for (const receipt of batch) {
    try {
      checked.receipts.push(checkReceipt(receipt));
    } catch (error) {
      checked.wrong.push({ receipt, why: error instanceof Error ? error.message : String(error) });
    }
  }
  return checked;
}

const id: Check<string> = (value) => {
  if (typeof value !== 'string' || !ID_PATTERN.test(value)) throw new Error('an identifier');
  return value;
};

function uint(max = Number.MAX_SAFE_INTEGER): Check<number> {
  return (value) => {
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > max) {
      throw new Error(`an integer from 0 to ${max}`);
    }
    return value;
  };
}

/** Milliseconds since the Unix epoch, perhaps with a fraction. */
const time: Check<number> = (value) => {
  if (typeof value !== 'number' || !Number.isFinite(value)) throw new Error('a time');
  return value;
};

/** Cleans the reason of a result. It is inside the body, so only the opened result shows it. */
export function cleanReason(reason: string): string {
  return cleanText(reason, EVERY_UNSAFE);
}

/** Text of a device that is inside an authenticated body. */
export function cleanText(value: string, unwanted = EVERY_CONTROL): string {
  return CONTROL.test(value) ? value.replace(unwanted, ' ') : value;
}

function text(max: number, unwanted = EVERY_CONTROL): Check<string> {
  return (value) => {
    if (typeof value !== 'string' || value.length > max) throw new Error(`text of at most ${max} characters`);
    return cleanText(value, unwanted);
  };
}

function bytes(min: number, max = min): Check<Uint8Array> {
  return (value) => {
    if (!(value instanceof Uint8Array) || value.length < min || value.length > max) {
      throw new Error(min === max ? `${min} bytes` : `${min} to ${max} bytes`);
    }
    return value;
  };
}

function oneOf<T extends string>(words: readonly T[]): Check<T> {
  return (value) => {
    if (!words.includes(value as T)) throw new Error(`one of ${words.join(', ')}`);
    return value as T;
  };
}

function listOf<T>(check: Check<T>, max: number): Check<T[]> {
  return (value) => {
    if (!Array.isArray(value) || value.length > max) throw new Error(`a list of at most ${max}`);
    return value.map(check);
  };
}

function optional<T>(check: Check<T>): Check<T | undefined> {
  return (value) => (value === undefined || value === null ? undefined : check(value));
}

const measured: Check<{ name: string; ms: number }> = (value) => {
  const { name, ms } = (value ?? {}) as { name?: unknown; ms?: unknown };
  return { name: id(name), ms: uint(MEASURING_LIMITS.measuredMaxMs)(ms) };
};

function edition(value: unknown): Edition {
  const [epoch, revision, ...more] = listOf(uint(), 2)(value);
  if (epoch === undefined || revision === undefined || more.length > 0) throw new Error('an edition');
  return [epoch, revision];
}

const own = text(GATEWAY_TEXT);

const SHAPES: { [K in Kind]: Shape<Omit<Extract<Receipt, { kind: K }>, 'kind' | 'from'>> } = {
  connected: {
    device: id,
    session: uint(),
    incarnation: own,
    worker: own,
    gateway: id,
    address: own,
    software: text(LIMITS.softwareLength),
    caps: listOf(text(SERVER_LIMITS.capabilityLength), SERVER_LIMITS.capabilities),
    membership: edition,
    key: optional(uint()),
    replaced: optional(uint()),
    name: optional(text(LIMITS.nameLength)),
    displaced: optional((value) => {
      if (value !== true) throw new Error('true');
      return true as const;
    }),
    at: time,
  },
  disconnected: { device: id, session: uint(), code: uint(65_535), reason: own, at: time },
  status: {
    device: id,
    body: bytes(1, LIMITS.statusBytes),
    mac: bytes(LIMITS.macBytes),
    worker: own,
    at: time,
  },
  measured: { device: id, measured: listOf(measured, MEASURING_LIMITS.measured), at: time },
  ack: { device: id, command: id, at: time },
  progress: {
    device: id,
    command: id,
    percent: optional(uint(100)),
    note: optional(text(LIMITS.noteLength, EVERY_UNSAFE)),
    at: time,
  },
  result: {
    device: id,
    command: id,
    body: bytes(1, LIMITS.resultBytes),
    mac: bytes(LIMITS.macBytes),
    worker: own,
    at: time,
  },
  want: { device: id, group: id, epoch: uint(), number: uint(), at: time },
  undelivered: { command: id, devices: listOf(id, DEVICES_MAX), incarnation: own, at: time },
  'outbox-lost': { incarnation: own, at: time },
  tunnel: {
    tunnel: id,
    device: id,
    event: oneOf(TUNNEL_EVENTS),
    side: optional(oneOf(['operator', 'device'] as const)),
    reason: optional(text(TUNNEL_REASON)),
    address: optional(own),
    bytesUp: uint(),
    bytesDown: uint(),
    streams: uint(),
    incarnation: own,
    at: time,
  },
};

/** Made once: every receipt is checked field by field. */
const FIELDS = new Map<unknown, [string, Check<unknown>][]>(
  Object.entries(SHAPES).map(([kind, shape]) => [kind, Object.entries<Check<unknown>>(shape)]),
);

function checkReceipt(value: unknown): Receipt {
  if (typeof value !== 'object' || value === null) throw new Error('a receipt: a map');
  const given = value as Record<string, unknown>;
  const { kind } = given;
  const fields = FIELDS.get(kind);
  if (!fields) throw new Error('kind: one that is known');
  const receipt: Record<string, unknown> = { kind };
  for (const [name, check] of fields) {
    let checked: unknown;
    try {
      checked = check(given[name]);
    } catch (error) {
      throw new Error(`${kind}: ${name}: ${error instanceof Error ? error.message : String(error)}`);
    }
    if (checked !== undefined) receipt[name] = checked;
  }
  if (typeof given.from === 'string') receipt.from = given.from;
  return receipt as unknown as Receipt;
}
