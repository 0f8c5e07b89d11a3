/** Results as a device seals them, and as tests read them. */
import { createHmac } from 'node:crypto';
import type { Receipt } from '../bus/bus.ts';
import {
  type DeviceMessage,
  decodeResultBody,
  encodeResultBody,
  LIMITS,
  RESULT_KEY_BYTES,
  type Result,
  type ResultBody,
  resultBytes,
} from '../protocol/index.ts';

/** Where nobody checks who made a result. */
export const NO_SECRET = new Uint8Array(LIMITS.secretBytes);

export interface Sealer {
  id: string;
  secret?: Uint8Array;
}

function mac(key: Uint8Array, bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHmac('sha512', key).update(bytes).digest().subarray(0, LIMITS.macBytes));
}

/** The MAC that this device puts under a result. */
export function resultMac({ id, secret = NO_SECRET }: Sealer, command: string, body: Uint8Array): Uint8Array {
  return mac(mac(secret, RESULT_KEY_BYTES), resultBytes(id, command, body));
}

export function sealResult(
  device: Sealer,
  command: string,
  end: ResultBody = { state: 'succeeded' },
): Result {
  const body = encodeResultBody(end);
  return { t: 'result', id: command, body, mac: resultMac(device, command, body) };
}

/** A device's message; of a result what is in it. */
export type OpenedMessage = Exclude<DeviceMessage, Result> | ({ t: 'result'; id: string } & ResultBody);

export function openMessage(message: DeviceMessage): OpenedMessage {
  if (message.t !== 'result') return message;
  return { t: 'result', id: message.id, ...decodeResultBody(message.body) };
}

/** As a gateway passes it on. */
export function resultReceipt(
  device: Sealer,
  command: string,
  at: number,
  end?: ResultBody,
): Extract<Receipt, { kind: 'result' }> {
  const { body, mac } = sealResult(device, command, end);
  return { kind: 'result', device: device.id, command, body, mac, worker: 'gw1/0', at };
}
