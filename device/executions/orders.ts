/** Which orders a device obeys (PROTOCOL.md, section "Orders", S-1 to S-7). */
import {
  type CancelOrder,
  type CommandOrder,
  decodeOrderBody,
  type Edition,
  editionOf,
  type GatewaysOrder,
  isNewer,
  type MembershipOrder,
  NO_EDITION,
  type Order,
  type OrderBody,
  orderBytes,
  ProtocolError,
  sameBytes,
} from '../../protocol/index.ts';
import type { TrustedKeys } from '../keys/trusted-keys.ts';
import type { ServerClock } from './server-clock.ts';

/** Why an order was not obeyed. None of these is answered: the order may not even be the server's. */
export type RefusalReason =
  | 'bad signature'
  | 'malformed'
  | 'other target'
  | 'older membership'
  | 'older list'
  | 'other key'
  /** A document of server keys that is older than the one it holds, or not properly signed (K-3). */
  | 'server keys'
  | 'not active';

export type Verdict =
  | { as: 'accepted'; body: OrderBody }
  /** Verified and for this device, but past its deliver-by time (S-5). */
  | { as: 'expired'; body: CommandOrder | CancelOrder }
  | { as: 'refused'; reason: RefusalReason; id?: string }
  /** A kind of a later version (V-2), or what the device holds already. */
  | { as: 'skipped' };

export interface OrdersParts {
  deviceId: string;
  /** Its key, and the one that it requested (K-6). */
  publicKeys(): readonly Uint8Array[];
  trusted: Pick<TrustedKeys, 'verify'>;
  clock: ServerClock;
}

export class Orders {
  readonly #parts: OrdersParts;
  #membership: MembershipOrder | null = null;
  #list: GatewaysOrder | null = null;

  constructor(parts: OrdersParts) {
    this.#parts = parts;
  }

  get membership(): MembershipOrder | null {
    return this.#membership;
  }

  /** Edition of the membership it holds. */
  get edition(): Edition {
    return this.#membership ? editionOf(this.#membership) : NO_EDITION;
  }

  /** The list of gateways that it holds. */
  get list(): GatewaysOrder | null {
    return this.#list;
  }

  /** Of the list that it holds for its group (G-18). */
  get listEdition(): Edition {
    return this.#list && this.#list.target.group === this.#group ? editionOf(this.#list) : NO_EDITION;
  }

  /** The device's own, the last of its groups. */
  get #group(): string | undefined {
    return this.#membership?.groups.at(-1);
  }

  /** A stored membership or list: the key that signed it may no longer be trusted. */
  hold({ body }: Pick<Order, 'body'>): void {
    const order = decodeOrderBody(body);
    if (order?.kind === 'gateways') this.#list = order;
    if (order?.kind !== 'membership' || !isFor(this.#parts.publicKeys(), order)) return;
    this.#membership = order;
    this.#parts.clock.verified(order.issuedAt);
  }

  async judge(order: Pick<Order, 'body' | 'sig'>): Promise<Verdict> {
    if (!(await this.#parts.trusted.verify(orderBytes(order.body), order.sig))) {
      return { as: 'refused', reason: 'bad signature' };
    }
    let body: OrderBody | null;
    try {
      body = decodeOrderBody(order.body);
    } catch (error) {
      if (error instanceof ProtocolError) return { as: 'refused', reason: 'malformed' };
      throw error;
    }
    if (body === null) return { as: 'skipped' };
    const known = 'id' in body ? { id: body.id } : {};
    if (!this.#targets(body)) return { as: 'refused', reason: 'other target', ...known };
    this.#parts.clock.verified(body.issuedAt);
    if (body.kind === 'membership' || body.kind === 'gateways') return this.#judgeNumbered(body);
    if (this.#membership && this.#membership.state !== 'active') {
      return { as: 'refused', reason: 'not active', ...known };
    }
    if (this.#parts.clock.now() > body.expiresAt) return { as: 'expired', body };
    return { as: 'accepted', body };
  }

  #judgeNumbered(body: MembershipOrder | GatewaysOrder): Verdict {
    const isList = body.kind === 'gateways';
    if (!isList && !isFor(this.#parts.publicKeys(), body)) return { as: 'refused', reason: 'other key' };
    const held = isList ? this.listEdition : this.edition;
    const edition = editionOf(body);
    if (isNewer(held, edition)) return { as: 'refused', reason: isList ? 'older list' : 'older membership' };
    if (!isNewer(edition, held)) return { as: 'skipped' };
    if (isList) this.#list = body;
    else this.#membership = body;
    return { as: 'accepted', body };
  }

  #targets({ kind, target }: OrderBody): boolean {
    if (kind === 'gateways') return target.group === this.#group;
    if ('device' in target) return target.device === this.#parts.deviceId;
    return this.#membership?.groups.includes(target.group) ?? false;
  }
}

/** Whether the membership names the device's key, or none, as one that ends the device does (S-7). */
function isFor(publicKeys: readonly Uint8Array[], { key }: MembershipOrder): boolean {
  return key === undefined || publicKeys.some((own) => sameBytes(own, key));
}
