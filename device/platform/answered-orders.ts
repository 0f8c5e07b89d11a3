/** Signed orders in the JSON of the administration server's answers. */
import { LIMITS, type SignedOrder } from '../../protocol/index.ts';
import { fromBase64url } from './base64url.ts';

/** Not verified. Throws `TypeError` for anything else. */
export function answeredOrder(value: unknown): SignedOrder {
  const { body, sig } = (value ?? {}) as Record<string, unknown>;
  return { body: fromBase64url(body), sig: fromBase64url(sig, LIMITS.signatureBytes) };
}
