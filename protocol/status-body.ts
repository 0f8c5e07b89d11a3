/** The body of a status (B-5): the device writes it, and the ledger reads it once it has verified its MAC. */
import { pack } from '#msgpack';
import { decodeMap, defined, type Fields, integer, isGiven, oneOf, optionalText } from './fields.ts';
import { LIMITS } from './limits.ts';
import { COMPLIANCE, type StatusBody } from './messages.ts';

/** Throws `ProtocolError` for a status that the ledger would not take. */
export function encodeStatusBody(status: StatusBody): Uint8Array<ArrayBuffer> {
  return pack(statusOf({ ...status }));
}

/** Throws `ProtocolError`. */
export function decodeStatusBody(bytes: Uint8Array): StatusBody {
  return statusOf(decodeMap(bytes, LIMITS.statusBytes));
}

function statusOf(fields: Fields): StatusBody {
  return defined({
    number: integer(fields, 'number', 1),
    policy: optionalText(fields, 'policy', LIMITS.policyLength),
    compliance: isGiven(fields.compliance) ? oneOf(fields, 'compliance', COMPLIANCE) : undefined,
  }) as StatusBody;
}
