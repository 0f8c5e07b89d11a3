/**
 * Decides which ports workers may listen on. Workers share a port, and the kernel would let another program
 * of the same user share it too: a port that no worker uses is therefore first bound exclusively for a
 * moment.
 */
import { probePort } from '../listen/port-probe.ts';

/** By then a worker with permission listens and has reported it; until then the port must not be probed. */
const GRANT_MS = 3_000;

export class PortBroker {
  readonly #host: string;
  readonly #inUse: (port: number) => boolean;
  readonly #granted = new Map<number, number>();
  readonly #probes = new Map<number, Promise<void>>();

  /** `inUse`: whether a worker listens on the port now. */
  constructor(host: string, inUse: (port: number) => boolean) {
    this.#host = host;
    this.#inUse = inUse;
  }

  /** Resolves when a worker may listen on the port now. Rejects with `PortUnavailable`. */
  async clear(port: number): Promise<void> {
    const now = performance.now();
    for (const [other, at] of this.#granted) if (now - at > GRANT_MS) this.#granted.delete(other);
    if (this.#granted.has(port) || this.#inUse(port)) return;
    let probe = this.#probes.get(port);
    if (!probe) {
      probe = this.#probe(port).finally(() => this.#probes.delete(port));
      this.#probes.set(port, probe);
    }
    await probe;
  }

  async #probe(port: number): Promise<void> {
    await probePort(this.#host, port);
    this.#granted.set(port, performance.now());
  }
}
