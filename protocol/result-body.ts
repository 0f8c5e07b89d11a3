/**
 * The inside of a result: written by the device, passed on unread by gateways, and read by the ledger
 * once its MAC was found to be good.
 */
import { pack } from '#msgpack';
import { REPORTABLE_STATES } from './execution-states.ts';
import { decodeMap, defined, oneOf, optionalText } from './fields.ts';
import { ProtocolError } from './frame-scan.ts';
import { LIMITS } from './limits.ts';
import type { ResultBody } from './messages.ts';

/** Throws `ProtocolError` for an end that the ledger would not take. */
export function encodeResultBody(end: ResultBody): Uint8Array<ArrayBuffer> {
  const bytes = pack(defined(end));
  decodeResultBody(bytes);
  return bytes;
}

/** Throws `ProtocolError`. */
export function decodeResultBody(bytes: Uint8Array): ResultBody {
  if (bytes.length > LIMITS.resultBytes) {
    throw new ProtocolError('R-4', `body: at most ${LIMITS.resultBytes} bytes`);
  }
  const fields = decodeMap(bytes, LIMITS.resultBytes);
  return defined({
    state: oneOf(fields, 'state', REPORTABLE_STATES),
    reason: optionalText(fields, 'reason', LIMITS.reasonLength),
    data: fields.data ?? undefined,
  }) as ResultBody;
}
