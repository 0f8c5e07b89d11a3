import { LIMITS, type SignedServerKeys, signedServerKeys } from '../../protocol/index.ts';
import { answeredOrder } from '../platform/answered-orders.ts';
import { fromBase64url } from '../platform/base64url.ts';

/** The documents of server keys that an answer brings (K-7), not verified. Throws for anything else. */
export function keyDocuments(value: unknown): SignedServerKeys[] {
  if (!Array.isArray(value) || value.length === 0 || value.length > LIMITS.serverKeyDocuments) {
    throw new TypeError(`keys: 1 to ${LIMITS.serverKeyDocuments} documents`);
  }
  return value.map((document: unknown) => {
    const { previousSig } = (document ?? {}) as Record<string, unknown>;
    return signedServerKeys({
      ...answeredOrder(document),
      ...(previousSig !== undefined && { previousSig: fromBase64url(previousSig) }),
    });
  });
}
