import type { UnauthenticatedSockets } from '../../bus/unauthenticated-sockets.ts';
import { unauthenticatedBound } from './descriptors.ts';

/** How many unauthenticated sockets there may be now: fewer when descriptors run short. */
export class UnauthenticatedLimit {
  readonly #most: number;
  #now: number;

  constructor(most: number) {
    this.#most = most;
    this.#now = most;
  }

  get now(): number {
    return this.#now;
  }

  /** Updates the bound: `used` of `limit` descriptors are in use. Closes the sockets above the new bound. */
  measured(used: number, limit: number, unauthenticatedSockets: UnauthenticatedSockets): void {
    this.#now = unauthenticatedBound({ used, limit }, unauthenticatedSockets.size, this.#most);
    unauthenticatedSockets.enforce();
  }
}
