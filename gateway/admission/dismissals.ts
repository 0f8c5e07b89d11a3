import {
  decodeGatewayMessage,
  decodeOrderBody,
  type Edition,
  editionOf,
  isNewer,
  ProtocolError,
} from '../../protocol/index.ts';

/** At most this many devices are remembered; then the earliest is forgotten. */
const KEPT = 10_000;

/**
 * Remembers the memberships with which this worker sent devices away. The administration server sends them
 * when a device may not stay. An entry of the directory with an older membership admits nobody: somebody else
 * wrote it back, or it is not renewed yet.
 */
export class Dismissals {
  readonly #editions = new Map<string, Edition>();

  /** `frame`: the administration server sends it with the close. */
  take(frame: Uint8Array): void {
    const order = membershipIn(frame);
    if (order === null) return;
    const { device } = order;
    const known = this.#editions.get(device);
    if (known && !isNewer(order.edition, known)) return;
    this.#editions.delete(device);
    this.#editions.set(device, order.edition);
    if (this.#editions.size <= KEPT) return;
    for (const earliest of this.#editions.keys()) {
      this.#editions.delete(earliest);
      return;
    }
  }

  /** Whether this entry is older than the membership with which its device was sent away. */
  isOutdated({ id, membershipEdition }: { id: string; membershipEdition: Edition }): boolean {
    const told = this.#editions.get(id);
    return told !== undefined && isNewer(told, membershipEdition);
  }
}

/** `null` for anything else. */
function membershipIn(frame: Uint8Array): { device: string; edition: Edition } | null {
  try {
    const message = decodeGatewayMessage(frame);
    const order = message?.t === 'order' ? decodeOrderBody(message.body) : null;
    if (order?.kind !== 'membership' || !('device' in order.target)) return null;
    return { device: order.target.device, edition: editionOf(order) };
  } catch (error) {
    if (error instanceof ProtocolError) return null;
    throw error;
  }
}
