/**
 * An entry of the directory admits a device only if the administration server signed the same membership:
 * whoever else writes to Redis can admit nobody, and put nobody into another group.
 */
import type { DirectoryDevice } from '../../bus/bus.ts';
import {
  decodeOrderBody,
  editionOf,
  type Order,
  orderBytes,
  orderParts,
  ProtocolError,
} from '../../protocol/index.ts';
import type { SignatureCheck } from './signature-check.ts';

/** Raw public keys that sign the administration server's orders; empty until they are known. */
export type ServerKeys = () => readonly Uint8Array[];

type SignedBody = Pick<Order, 'body' | 'sig'>;

/** Whether the signed membership of an active device matches its entry. */
export type MembershipCheck = (device: DirectoryDevice) => boolean;

export function membershipCheck(serverKeys: ServerKeys, isSigned: SignatureCheck): MembershipCheck {
  return (device) => {
    try {
      const order = orderParts(device.membership);
      return says(order, device) && isOurs(order, serverKeys(), isSigned);
    } catch (error) {
      if (error instanceof ProtocolError) return false;
      throw error;
    }
  };
}

function says({ body }: SignedBody, device: DirectoryDevice): boolean {
  const order = decodeOrderBody(body);
  if (order?.kind !== 'membership' || order.state !== 'active' || order.key === undefined) return false;
  return (
    order.target.device === device.id &&
    Buffer.compare(order.key, device.publicKey) === 0 &&
    order.groups.join() === device.groups.join() &&
    editionOf(order).join() === device.membershipEdition.join()
  );
}

/** The first key signed nearly all of them. */
function isOurs({ body, sig }: SignedBody, keys: readonly Uint8Array[], isSigned: SignatureCheck): boolean {
  const bytes = orderBytes(body);
  return keys.some((key) => isSigned(sig, bytes, key));
}
