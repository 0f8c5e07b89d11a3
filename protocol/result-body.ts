/**
 * The body of a result: the device writes it, gateways pass it on unread, and the ledger reads it once
 * it has verified its MAC.
 */
import { pack } from '#msgpack';
import { REPORTABLE_STATES } from './execution-states.ts';
import { decodeMap, defined, type Fields, oneOf, optionalText } from './fields.ts';
import { ProtocolError } from './frame-scan.ts';
import { LIMITS } from './limits.ts';
import type { Encrypted, ResultBody } from './messages.ts';
import { sealedFields } from './sealed.ts';

/** Reasons that programs may compare: they tell nothing of arguments or results. */
export const COMPLETE_REASONS = [
  'unsupported',
  'busy',
  'interrupted',
  'no key',
  'unreadable',
] as const satisfies readonly string[];

const complete: ReadonlySet<string> = /* @__PURE__ */ new Set(COMPLETE_REASONS);

/** Whether an outcome of a secret command tells what only the administration server may read. */
export function tellsSecrets({ reason, data }: Pick<ResultBody, 'reason' | 'data'>): boolean {
  return data !== undefined || (reason !== undefined && !complete.has(reason));
}

/** Throws `ProtocolError` for an outcome that the ledger would not take. */
export function encodeResultBody(end: ResultBody): Uint8Array<ArrayBuffer> {
  const bytes = pack(defined(end));
  decodeResultBody(bytes);
  return bytes;
}

/** Throws `ProtocolError`. */
export function decodeResultBody(bytes: Uint8Array): ResultBody {
  return endOf(fieldsOf(bytes));
}

/** The `body` of a secret command's result, as it travels. */
export function encodeSealedBody({ nonce, ct }: Encrypted): Uint8Array<ArrayBuffer> {
  return pack({ nonce, ct });
}

/** A `body` as received: an outcome, or a sealed one. Throws `ProtocolError`. */
export function decodeTravelledBody(bytes: Uint8Array): ResultBody | Encrypted {
  const fields = fieldsOf(bytes);
  return fields.ct === undefined ? endOf(fields) : sealedFields(fields, 1, LIMITS.secretResultBytes);
}

function fieldsOf(bytes: Uint8Array): Fields {
  if (bytes.length > LIMITS.resultBytes) {
    throw new ProtocolError('R-4', `body: at most ${LIMITS.resultBytes} bytes`);
  }
  return decodeMap(bytes, LIMITS.resultBytes);
}

function endOf(fields: Fields): ResultBody {
  return defined({
    state: oneOf(fields, 'state', REPORTABLE_STATES),
    reason: optionalText(fields, 'reason', LIMITS.reasonLength),
    data: fields.data ?? undefined,
  }) as ResultBody;
}
