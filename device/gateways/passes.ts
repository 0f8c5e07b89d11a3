import { decodePass, type Pass, ProtocolError, passBytes, type SignedPass } from '../../protocol/index.ts';

/** No pass counts for longer, milliseconds (S-9). */
const LONGEST_MS = 86_400_000;

export interface PassParts {
  verify(bytes: Uint8Array, sig: Uint8Array): Promise<boolean>;
  /** Server time, and what a signature says of it (S-5). */
  clock: { now(): number; verified(issuedAt: number): void };
  monotonic?: () => number;
}

/**
 * Which gateways the administration server vouches for (S-9). How long a pass still counts is measured by the
 * device's own monotonic clock from when it was first seen: a gateway cannot make it last by its words.
 */
export class GatewayPasses {
  readonly #parts: PassParts;
  readonly #monotonic: () => number;
  /** The newest of each gateway, and until when it counts. */
  readonly #newest = new Map<string, { issuedAt: number; until: number }>();

  constructor(parts: PassParts) {
    this.#parts = parts;
    this.#monotonic = parts.monotonic ?? (() => performance.now());
  }

  /** For how many milliseconds the gateway of this name is vouched for; 0: it is not. */
  async judge(gateway: string, signed: SignedPass | undefined): Promise<number> {
    const pass = signed && (await this.#read(signed));
    if (pass?.gateway === gateway) {
      const { clock } = this.#parts;
      clock.verified(pass.issuedAt);
      const leftMs = Math.min(LONGEST_MS, pass.expiresAt - clock.now());
      if (pass.issuedAt > (this.#newest.get(gateway)?.issuedAt ?? 0)) {
        this.#newest.set(gateway, { issuedAt: pass.issuedAt, until: this.#monotonic() + leftMs });
      }
    }
    return Math.max(0, (this.#newest.get(gateway)?.until ?? 0) - this.#monotonic());
  }

  async #read({ body, sig }: SignedPass): Promise<Pass | null> {
    if (!(await this.#parts.verify(passBytes(body), sig))) return null;
    try {
      return decodePass(body);
    } catch (error) {
      if (error instanceof ProtocolError) return null;
      throw error;
    }
  }
}
