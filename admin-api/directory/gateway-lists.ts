import type { Logger } from 'pino';
import {
  type Edition,
  encodeGatewayMessage,
  type GatewayAddress,
  LIMITS,
  SERVER_LIMITS,
  type SignedOrder,
} from '../../protocol/index.ts';
import { groupsOnPath } from '../group-path.ts';
import type { OrderSigner } from '../order-signer.ts';
import type { Meta } from '../store/store.ts';
import {
  type ListRecord,
  type NamedGateway,
  readLists,
  recordGateways,
  type Stamp,
  stampOf,
} from './list-record.ts';

/** Lists that are kept signed. */
const KEPT_MAX = 20_000;
/** A list without its gateways, and a gateway without its name and url, bytes at most. */
const HEAD_BYTES = 256;
const ENTRY_BYTES = 16;

/** The list of a group (PROTOCOL.md, G-18), signed once for all its devices. */
export interface GroupList {
  order: SignedOrder;
  /** The same as the frame that travels. */
  frame: Uint8Array;
  edition: Edition;
  /** What changes whenever the list or its signature does. */
  version: string;
}

export interface GatewayListsParts {
  meta: Meta;
  signer: Pick<OrderSigner, 'sign' | 'publicKey' | 'current'>;
  epoch: number;
  now: () => number;
  log: Logger;
}

/**
 * The signed lists of gateways. Every administration server makes the same bytes of a list: its number and
 * time are stored, and Ed25519 has no randomness.
 */
export class GatewayLists {
  readonly #parts: GatewayListsParts;
  #record: ListRecord | null = null;
  readonly #signed = new Map<string, GroupList>();
  /** Groups whose gateways did not all fit, as last logged. */
  #tooMany = '';

  constructor(parts: GatewayListsParts) {
    this.#parts = parts;
  }

  /** Reads what is stored. Until there is something, no group has a list. */
  async read(): Promise<void> {
    this.#record = await readLists(this.#parts.meta);
  }

  /** These are all gateways that devices may be told of now. */
  async follow(gateways: readonly NamedGateway[]): Promise<void> {
    const { meta, now } = this.#parts;
    this.#record = await recordGateways(meta, gateways, now());
  }

  /** What changes whenever some list, some signature, or the groups there are change. */
  get mark(): string {
    return `${this.#parts.epoch}.${this.#record?.revision ?? 0}.${nameOf(this.#parts.signer.publicKey)}`;
  }

  /** Whether lists with this mark need not be written again. */
  isCurrent(mark: string): boolean {
    const { epoch, signer } = this.#parts;
    const numbers = `${epoch}.${this.#record?.revision ?? 0}`;
    return signer.current.some((key) => mark === `${numbers}.${nameOf(key)}`);
  }

  /** For devices whose group has this path; `null` while no gateway may serve them. */
  of(groupPath: string): GroupList | null {
    const record = this.#record;
    const path = groupsOnPath(groupPath);
    const group = path.at(-1);
    if (!record || group === undefined) return null;
    const gateways = record.gateways.filter((gateway) => path.includes(gateway.group));
    if (gateways.length === 0) return null;
    const stamp = stampOf(record, groupPath);
    const version = `${stamp.revision}.${nameOf(this.#parts.signer.publicKey)}`;
    const known = this.#signed.get(group);
    if (known?.version === version) return known;
    const list = this.#sign(group, gateways, stamp, version);
    if (this.#signed.size >= KEPT_MAX) this.#signed.clear();
    this.#signed.set(group, list);
    return list;
  }

  #sign(group: string, gateways: readonly NamedGateway[], stamp: Stamp, version: string): GroupList {
    const { epoch, signer } = this.#parts;
    const order = signer.sign({
      kind: 'gateways',
      target: { group },
      ...{ epoch, revision: stamp.revision },
      gateways: this.#fitting(group, gateways),
      issuedAt: stamp.at,
    });
    const frame = encodeGatewayMessage({ t: 'order', ...order });
    return { order, frame, edition: [epoch, stamp.revision], version };
  }

  #fitting(group: string, gateways: readonly NamedGateway[]): GatewayAddress[] {
    let room = SERVER_LIMITS.gatewaysBytes - HEAD_BYTES;
    const fit: GatewayAddress[] = [];
    for (const { name, url } of gateways) {
      room -= ENTRY_BYTES + name.length + Buffer.byteLength(url);
      if (room < 0 || fit.length === LIMITS.listedGateways) break;
      fit.push({ name, url });
    }
    const left = gateways.slice(fit.length).map(({ name }) => name);
    const tooMany = `${group} ${left.join()}`;
    if (left.length > 0 && tooMany !== this.#tooMany) {
      this.#tooMany = tooMany;
      this.#parts.log.error({ group, left }, 'too many gateways for one list: devices never use these');
    }
    return fit;
  }
}

/** Enough to tell keys apart. */
function nameOf(publicKey: Uint8Array): string {
  return Buffer.from(publicKey).toString('base64url').slice(0, 11);
}
