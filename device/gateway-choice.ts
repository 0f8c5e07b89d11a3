import type { GatewayAddress } from '../protocol/index.ts';

function dialable(address: GatewayAddress): boolean {
  return /^wss?:\/\//i.test(address.url);
}

/**
 * Which gateway to try next: those a redirect named first, then the list in its order, going round after failures.
 * A session puts the list back to its beginning, the best gateway.
 */
export class GatewayChoice {
  #list: GatewayAddress[] = [];
  #redirects: GatewayAddress[] = [];
  #next = 0;

  constructor(list: readonly GatewayAddress[]) {
    this.replace(list);
  }

  get list(): readonly GatewayAddress[] {
    return this.#list;
  }

  /** `welcome` and `update` carry the whole list (G-1); an empty one is not believed, as it would strand the device. */
  replace(list: readonly GatewayAddress[]): boolean {
    const usable = list.filter(dialable);
    if (usable.length === 0 || JSON.stringify(usable) === JSON.stringify(this.#list)) return false;
    this.#list = usable;
    this.#next = 0;
    return true;
  }

  /** Go to these first (G-3). A device that came by TLS is not sent to where there is none. */
  redirect(to: readonly GatewayAddress[], from: string): void {
    const secure = /^wss:/i.test(from);
    this.#redirects = to.filter((address) => dialable(address) && (!secure || /^wss:/i.test(address.url)));
  }

  get redirected(): boolean {
    return this.#redirects.length > 0;
  }

  current(): GatewayAddress | undefined {
    return this.#redirects[0] ?? this.#list[this.#next % Math.max(1, this.#list.length)];
  }

  /** `current` did not work out, or asked to be left. */
  rotate(): void {
    if (this.#redirects.length > 0) this.#redirects.shift();
    else this.#next = (this.#next + 1) % Math.max(1, this.#list.length);
  }

  /** A session is open: its gateway is the one to return to, and the others follow in the list's order. */
  arrived(address: GatewayAddress): void {
    this.#redirects = [];
    const index = this.#list.findIndex((known) => known.url === address.url);
    this.#next = Math.max(0, index);
  }
}
