import type { Directory, DirectoryList } from '../../bus/bus.ts';
import {
  decodeGatewayMessage,
  decodeOrderBody,
  type Edition,
  editionOf,
  type GatewaysOrder,
  isNewer,
  orderBytes,
  ProtocolError,
} from '../../protocol/index.ts';

interface Carried {
  edition: Edition;
  frame: Uint8Array;
  /** Where the list says that this gateway is. */
  ownUrl: string | undefined;
}

export interface CarriedListsParts {
  /** Of this gateway. */
  gateway: string;
  directory: Pick<Directory, 'lists'>;
  /** Whether the administration server signed these bytes. */
  isOurs(bytes: Uint8Array, sig: Uint8Array): boolean;
}

/**
 * The signed lists of gateways that this gateway carries to devices (G-18): those of the groups of its
 * devices. It takes only what the administration server signed, and nothing older than it had.
 */
export class CarriedLists {
  readonly #parts: CarriedListsParts;
  /** By group; `null`: it has none. */
  readonly #known = new Map<string, Carried | null>();
  /** Of the lists that were read last; `null`: they are to be read again. */
  #mark: string | null = null;
  #reads = 0;
  /** A group whose list nobody of the installation signed. */
  #refused: string | null = null;

  constructor(parts: CarriedListsParts) {
    this.#parts = parts;
  }

  /** What operators should know. */
  get warnings(): string[] {
    if (this.#refused === null) return [];
    return [
      `the list of gateways for group ${this.#refused} is not what the administration server signed: ` +
        'somebody else wrote to the directory',
    ];
  }

  /** The list of this group as a frame, for a device that holds this edition; `null`: nothing newer. */
  after(group: string, held: Edition): Uint8Array | null {
    const list = this.#known.get(group);
    return list && isNewer(list.edition, held) ? list.frame : null;
  }

  /** Whether devices of this group are told that this gateway is at `url`. */
  leadsTo(group: string, url: string): boolean {
    return this.#known.get(group)?.ownUrl === url;
  }

  /** Reads the lists of those groups of which it has none. */
  async learn(groups: Iterable<string>): Promise<void> {
    const unknown = [...new Set(groups)].filter((group) => !this.#known.get(group));
    if (unknown.length === 0) return;
    for (let reads = -1; reads !== this.#reads; ) {
      reads = this.#reads;
      await this.#read(unknown);
    }
  }

  /**
   * Reads the lists of the groups in use again if they may be others, and forgets the rest. Returns the
   * groups whose list is newer than before.
   */
  async refresh(mark: string | null, inUse: () => ReadonlySet<string>): Promise<Set<string>> {
    if (mark === null || mark === this.#mark) return new Set();
    const groups = inUse();
    for (const group of this.#known.keys()) if (!groups.has(group)) this.#known.delete(group);
    this.#reads++;
    this.#refused = null;
    this.#mark = mark;
    try {
      return await this.#read([...groups]);
    } catch (error) {
      this.#mark = null;
      throw error;
    }
  }

  async #read(groups: readonly string[]): Promise<Set<string>> {
    const lists = await this.#parts.directory.lists(groups);
    const newer = new Set<string>();
    for (const [index, group] of groups.entries()) {
      if (this.#take(group, lists[index] ?? null)) newer.add(group);
    }
    return newer;
  }

  /** Whether it is newer than the one before. A list that is lost is no reason to forget it. */
  #take(group: string, list: DirectoryList | null): boolean {
    const before = this.#known.get(group) ?? null;
    const carried = list && this.#opened(list);
    if (list && !carried) {
      this.#refused = group;
      // The keys that it is signed with may be news that comes a little later.
      this.#mark = null;
    }
    if (!carried || (before && isNewer(before.edition, carried.edition))) {
      this.#known.set(group, before);
      return false;
    }
    this.#known.set(group, carried);
    return before === null || isNewer(carried.edition, before.edition);
  }

  #opened({ group, frame }: DirectoryList): Carried | null {
    try {
      const order = decodeGatewayMessage(frame);
      const body = order?.t === 'order' ? decodeOrderBody(order.body) : null;
      if (order?.t !== 'order' || body?.kind !== 'gateways' || body.target.group !== group) return null;
      if (!this.#parts.isOurs(orderBytes(order.body), order.sig)) return null;
      return { edition: editionOf(body), frame, ownUrl: this.#ownUrl(body) };
    } catch (error) {
      if (error instanceof ProtocolError) return null;
      throw error;
    }
  }

  #ownUrl({ gateways }: GatewaysOrder): string | undefined {
    return gateways.find(({ name }) => name === this.#parts.gateway)?.url;
  }
}
