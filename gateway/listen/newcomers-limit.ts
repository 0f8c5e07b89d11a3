import type { Newcomers } from '../../bus/newcomers.ts';
import { newcomersBound } from './descriptors.ts';

/** How many sockets of strangers there may be now: fewer when descriptors run short. */
export class NewcomersLimit {
  readonly #most: number;
  #now: number;

  constructor(most: number) {
    this.#most = most;
    this.#now = most;
  }

  get now(): number {
    return this.#now;
  }

  /** So many descriptors are in use, of `limit`; newcomers beyond what that leaves are cut. */
  measured(used: number, limit: number, newcomers: Newcomers): void {
    this.#now = newcomersBound({ used, limit }, newcomers.size, this.#most);
    newcomers.enforce();
  }
}
