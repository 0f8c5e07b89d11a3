import { isIP } from 'node:net';
import { originOfText } from '../../bus/addresses.ts';
import { Problem } from '../problems.ts';

const WINDOW_MS = 60_000;
const ADDRESSES_MAX = 10_000;

/**
 * Counts failures per address (of IPv6: its /64, which is one customer) in windows of a minute, so that
 * nobody can guess enrolment tokens quickly. Bounded: when it is full, it forgets the address whose window
 * began first.
 */
export class FailedAttempts {
  readonly #perMinute: number;
  readonly #now: () => number;
  readonly #windows = new Map<string, { since: number; failures: number }>();

  constructor(perMinute: number, now: () => number) {
    this.#perMinute = perMinute;
    this.#now = now;
  }

  /** Throws `Problem` if this address has recently failed too often. */
  check(ip: string): void {
    const address = networkOf(ip);
    const window = this.#windows.get(address);
    if (!window || window.failures < this.#perMinute) return;
    const restMs = window.since + WINDOW_MS - this.#now();
    if (restMs <= 0) this.#windows.delete(address);
    else {
      const detail = 'Too many failed enrolments from this address; wait.';
      throw new Problem('too-many-requests', detail, Math.ceil(restMs / 1000));
    }
  }

  failed(ip: string): void {
    const address = networkOf(ip);
    const now = this.#now();
    const window = this.#windows.get(address);
    if (window && now - window.since < WINDOW_MS) {
      window.failures += 1;
      return;
    }
    this.#windows.delete(address);
    if (this.#windows.size >= ADDRESSES_MAX) {
      this.#windows.delete(this.#windows.keys().next().value as string);
    }
    this.#windows.set(address, { since: now, failures: 1 });
  }
}

/** The first 64 bits of an IPv6 address; an IPv4 address as it is, also inside an IPv6 one. */
export function networkOf(ip: string): string {
  const { address, prefix } = originOfText(ip);
  return ip.includes(':') && isIP(address) !== 4 ? prefix : address;
}
