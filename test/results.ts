/** Results and statuses as a device makes them (R-8, B-5), and as tests read them. */
import { createDecipheriv, createHmac } from 'node:crypto';
import type { Receipt } from '../bus/bus.ts';
import {
  type Authenticated,
  type Beat,
  type DeviceMessage,
  decodeResultBody,
  decodeStatusBody,
  decodeTravelledBody,
  type Encrypted,
  encodeResultBody,
  encodeStatusBody,
  LIMITS,
  RESULT_KEY_BYTES,
  type Result,
  type ResultBody,
  resultBytes,
  SECRET_KEY_BYTES,
  type StatusBody,
  sealedResultBytes,
  statusBytes,
} from '../protocol/index.ts';

/** Where nobody checks who made a result. */
export const NO_SECRET = new Uint8Array(LIMITS.secretBytes);

export interface ResultMaker {
  id: string;
  secret?: Uint8Array;
}

function mac(key: Uint8Array, bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHmac('sha512', key).update(bytes).digest().subarray(0, LIMITS.macBytes));
}

/** The MAC that this device puts under a result. */
export function resultMac(
  { id, secret = NO_SECRET }: ResultMaker,
  command: string,
  body: Uint8Array,
): Uint8Array {
  return mac(mac(secret, RESULT_KEY_BYTES), resultBytes(id, command, body));
}

export function makeResult(
  device: ResultMaker,
  command: string,
  end: ResultBody = { state: 'succeeded' },
): Result {
  const body = encodeResultBody(end);
  return { t: 'result', id: command, body, mac: resultMac(device, command, body) };
}

/** What this device says of itself. */
export function makeStatus(device: ResultMaker, status: StatusBody): Authenticated {
  return makeStatusBody(device, encodeStatusBody(status));
}

export function makeStatusBody({ id, secret = NO_SECRET }: ResultMaker, body: Uint8Array): Authenticated {
  return { body, mac: mac(mac(secret, RESULT_KEY_BYTES), statusBytes(id, body)) };
}

/** A device's message; of a result and a status what is in it. */
export type OpenedMessage = Exclude<DeviceMessage, Result | Beat> | OpenedResult | OpenedBeat;
type OpenedResult = { t: 'result'; id: string; sealed?: true } & ResultBody;
type OpenedBeat = Omit<Beat, 'status'> & { status?: StatusBody };

/** `device`: whose results may be sealed, as those of secret commands are; without it they say nothing. */
export function openMessage(message: DeviceMessage, device?: ResultMaker): OpenedMessage {
  if (message.t === 'beat') {
    const { status, ...beat } = message;
    return { ...beat, ...(status && { status: decodeStatusBody(status.body) }) };
  }
  if (message.t !== 'result') return message;
  const { id, body } = message;
  const travelled = decodeTravelledBody(body);
  if (!('ct' in travelled)) return { t: 'result', id, ...travelled };
  if (!device) return { t: 'result', id, sealed: true, state: 'succeeded', reason: 'not opened' };
  return { t: 'result', id, sealed: true, ...decodeResultBody(openEnd(device, id, travelled)) };
}

/** What the device sealed with its secret key. */
function openEnd(
  { id, secret = NO_SECRET }: ResultMaker,
  command: string,
  { nonce, ct }: Encrypted,
): Uint8Array {
  const decipher = createDecipheriv('aes-256-gcm', mac(secret, SECRET_KEY_BYTES), nonce);
  decipher.setAAD(sealedResultBytes(id, command)).setAuthTag(ct.subarray(-LIMITS.sealTagBytes));
  return Buffer.concat([decipher.update(ct.subarray(0, -LIMITS.sealTagBytes)), decipher.final()]);
}

/** As a gateway passes it on. */
export function resultReceipt(
  device: ResultMaker,
  command: string,
  at: number,
  end?: ResultBody,
): Extract<Receipt, { kind: 'result' }> {
  const { body, mac } = makeResult(device, command, end);
  return { kind: 'result', device: device.id, command, body, mac, worker: 'gw1/0', at };
}

/** As a gateway passes it on. */
export function statusReceipt(
  device: ResultMaker,
  status: StatusBody,
  at: number,
): Extract<Receipt, { kind: 'status' }> {
  return { kind: 'status', device: device.id, ...makeStatus(device, status), worker: 'gw1/0', at };
}
