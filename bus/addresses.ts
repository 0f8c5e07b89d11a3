/**
 * The origin of a socket: an address and its prefix (IPv4 /24, IPv6 /64), as keys that are cheap to compare.
 * An IPv4 address inside an IPv6 one (`::ffff:192.0.2.1`) counts as the IPv4 address.
 */
import { BlockList, isIP } from 'node:net';

export interface Origin {
  address: string;
  prefix: string;
}

const V4_IN_V6 = Buffer.from('00000000000000000000ffff', 'hex');

/** `bytes`: 4 or 16, as the kernel has them. Anything else is one origin of its own. */
export function originOf(bytes: Uint8Array): Origin {
  const mapped = bytes.length === 16 && V4_IN_V6.equals(bytes.subarray(0, 12));
  const own = mapped ? bytes.subarray(12) : bytes;
  if (own.length === 4) {
    const prefix = `${own[0]}.${own[1]}.${own[2]}`;
    return { address: `${prefix}.${own[3]}`, prefix };
  }
  if (own.length !== 16) return { address: 'unknown', prefix: 'unknown' };
  const groups = Array.from({ length: 8 }, (_, i) =>
    (((own[2 * i] ?? 0) << 8) | (own[2 * i + 1] ?? 0)).toString(16),
  );
  return { address: groups.join(':'), prefix: groups.slice(0, 4).join(':') };
}

/** The origin of an address given as text. */
export function originOfText(text: string): Origin {
  const v4 = /^(?:::ffff:)?(\d+\.\d+\.\d+)\.(\d+)$/i.exec(text);
  if (v4) return { address: `${v4[1]}.${v4[2]}`, prefix: v4[1] ?? '' };
  const [own = ''] = text.split('%', 1);
  if (isIP(own) !== 6) return { address: 'unknown', prefix: 'unknown' };
  const [head = '', tail = ''] = own.split('::');
  const groups = head === '' ? [] : head.split(':');
  const after = tail === '' ? [] : tail.split(':');
  const zeros = own.includes('::') ? Math.max(0, 8 - groups.length - after.length) : 0;
  const prefix = [...groups, ...Array<string>(zeros).fill('0'), ...after].slice(0, 4);
  return { address: own, prefix: prefix.map((group) => Number.parseInt(group, 16).toString(16)).join(':') };
}

/** Addresses whose answer is kept: a lookup costs as much as the rest of accepting a socket. */
const ANSWERS = 1_024;

/** Addresses and prefixes as an operator names them. */
export class AddressList {
  readonly #list = new BlockList();
  readonly #answers = new Map<string, boolean>();

  /** `text`: addresses and CIDR prefixes, separated by commas. Throws an `Error` that names what is wrong. */
  constructor(text: string) {
    for (const item of text.split(',').map((part) => part.trim())) {
      if (item !== '') this.#add(item);
    }
  }

  has(address: string): boolean {
    if (this.#list.rules.length === 0) return false;
    const known = this.#answers.get(address);
    if (known !== undefined) return known;
    const version = isIP(address);
    const listed = version !== 0 && this.#list.check(address, version === 4 ? 'ipv4' : 'ipv6');
    if (this.#answers.size >= ANSWERS) this.#answers.clear();
    this.#answers.set(address, listed);
    return listed;
  }

  #add(item: string): void {
    const [address = '', length, rest] = item.split('/');
    const version = isIP(address);
    const most = version === 4 ? 32 : 128;
    const bits = length === undefined ? most : /^\d{1,3}$/.test(length) ? Number(length) : Number.NaN;
    if (version === 0 || rest !== undefined || !(bits <= most)) {
      throw new Error(`${JSON.stringify(item)} is neither an IP address nor a prefix such as 192.0.2.0/24`);
    }
    this.#list.addSubnet(address, bits, version === 4 ? 'ipv4' : 'ipv6');
  }
}
