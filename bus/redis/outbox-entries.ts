/** Entries of an outbox as stored in Redis, and which of them an administration server wrote. */
import { CLOSE } from '../../protocol/index.ts';
import type { Delivery, OutboxEntry } from '../bus.ts';
import { decode } from '../encoding.ts';
import type { Authenticator } from './macs/authenticator.ts';
import { Sequences } from './macs/sequences.ts';

/** Most deliveries under one MAC. */
export const GROUP_MAX = 64;
/** Groups that were only partly handed out: a repeated read may begin in one of them. */
const CUT_KEPT = 2;

/** `d` and a delivery. The last entry of a group also has `s`, the size of the group and its MAC. */
export type RawEntry = [id: Buffer, fields: Buffer[]];

export function groupMac(size: number, mac: Buffer): Buffer {
  return Buffer.concat([Uint8Array.of(size), mac]);
}

interface Raw {
  id: string;
  delivery: Buffer;
}

interface Group {
  raws: readonly Raw[];
  /** `null`: no administration server wrote them. */
  deliveries: readonly Delivery[] | null;
}

/** Reads the outbox of one incarnation. */
export class AuthenticatedEntries {
  readonly #incarnation: string;
  readonly #authenticator: Authenticator;
  readonly #sequences = new Sequences();
  #cut: readonly Raw[][] = [];

  constructor(incarnation: string, authenticator: Authenticator) {
    this.#incarnation = incarnation;
    this.#authenticator = authenticator;
  }

  /**
   * The first `limit` valid entries, and the last id that was checked, or `null` for none. Entries without a
   * valid MAC are left out and counted; a group that does not end within `found` waits for the next read.
   */
  async open(
    found: readonly RawEntry[],
    limit: number,
  ): Promise<{ entries: OutboxEntry[]; end: string | null }> {
    const entries: OutboxEntry[] = [];
    let end: string | null = null;
    for (const { raws, deliveries } of await this.#groups(found)) {
      const room = limit - entries.length;
      if (room === 0) break;
      if (deliveries === null) this.#refuse(raws);
      else if (room < raws.length) this.#cut = [...this.#cut, [...raws]].slice(-CUT_KEPT);
      const some = deliveries === null ? raws : raws.slice(0, room);
      for (const [index, { id }] of some.entries()) {
        const delivery = deliveries?.[index];
        if (delivery !== undefined) entries.push({ offset: id, delivery });
        end = id;
      }
    }
    return { entries, end };
  }

  async #groups(found: readonly RawEntry[]): Promise<Group[]> {
    const groups: Group[] = [];
    const refused = (raws: readonly Raw[]) => {
      if (raws.length > 0) groups.push({ raws, deliveries: null });
    };
    let open: Raw[] = [];
    for (const [rawId, fields] of found) {
      const raw = { id: rawId.toString(), delivery: fields[1] ?? Buffer.alloc(0) };
      const mac = fields[2]?.toString() === 's' ? fields[3] : undefined;
      if (this.#needsNoMac(raw, mac)) {
        groups.push({ raws: [raw], deliveries: decodeAll([raw]) });
        continue;
      }
      open.push(raw);
      if (mac === undefined) continue;
      const size = Math.min(mac[0] ?? 0, open.length);
      const own = open.slice(open.length - size);
      refused(open.slice(0, open.length - size));
      groups.push({ raws: own, deliveries: (await this.#isGood(mac, own)) ? decodeAll(own) : null });
      open = [];
    }
    // No group is longer than this, so its end will not come.
    refused(open.slice(0, Math.max(0, open.length - GROUP_MAX + 1)));
    return groups;
  }

  #needsNoMac(raw: Raw, mac: Buffer | undefined): boolean {
    if (!this.#authenticator.checksServers) return true;
    const isKnown = ({ id, delivery }: Raw) => id === raw.id && delivery.equals(raw.delivery);
    return this.#cut.some((raws) => raws.some(isKnown)) || (mac === undefined && isClosing(raw));
  }

  async #isGood(mac: Buffer, group: readonly Raw[]): Promise<boolean> {
    const parts = [Buffer.from(this.#incarnation), ...group.map(({ delivery }) => delivery)];
    const entry = await this.#authenticator.verify('deliveries', mac.subarray(1), parts);
    return (
      typeof entry !== 'string' && this.#sequences.take(entry.sender, entry.number, group.at(-1)?.id ?? '')
    );
  }

  #refuse(raws: readonly Raw[]): void {
    for (const { id } of raws)
      this.#authenticator.refusals.refuse('deliveries', `${this.#incarnation} ${id}`);
  }
}

function decodeAll(raws: readonly Raw[]): Delivery[] | null {
  try {
    return raws.map(({ delivery }) => decode<Delivery>(delivery));
  } catch {
    return null;
  }
}

/**
 * What any gateway may ask of another without proof: to end replaced sessions (H-9). Whoever writes to Redis
 * can end sessions in other ways as well.
 */
function isClosing(raw: Raw): boolean {
  const delivery = decodeAll([raw])?.[0];
  if (typeof delivery !== 'object' || delivery === null) return false;
  const { devices, close, ...more } = delivery;
  const sessions = close?.sessions;
  return (
    Object.keys(more).length === 0 &&
    close?.code === CLOSE.replaced &&
    Array.isArray(devices) &&
    Array.isArray(sessions) &&
    sessions.length === devices.length &&
    sessions.every((session) => typeof session === 'number' && session > 0)
  );
}
