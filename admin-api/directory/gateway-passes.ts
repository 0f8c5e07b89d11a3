import { decodePass, encodePass, ProtocolError, passBytes, type SignedPass } from '../../protocol/index.ts';
import { holdsKey } from '../key-proof.ts';

/** How long a pass is valid, and at which age it is renewed, milliseconds. */
const LIFE_MS = 86_400_000;
const RENEW_MS = 3_600_000;

export interface PassSigner {
  /** Keys whose passes stay valid; a new array after a change. */
  readonly current: readonly Uint8Array[];
  signPass(body: Uint8Array): Uint8Array;
}

/**
 * The passes of gateways (PROTOCOL.md, S-9). Servers share them in the directory: a server that finds one an
 * hour old writes the next.
 */
export class GatewayPassWriter {
  readonly #signer: PassSigner;
  readonly #now: () => number;
  /** Verified passes of the directory, by gateway. */
  readonly #verified = new Map<string, SignedPass>();
  /** By one of these. */
  #by: readonly Uint8Array[] = [];

  constructor(signer: PassSigner, now: () => number) {
    this.#signer = signer;
    this.#now = now;
  }

  /** The stored pass while it is valid and recent; otherwise a new one. */
  of(gateway: string, written: SignedPass | undefined): SignedPass {
    if (written && this.#isYoung(gateway, written)) return written;
    const issuedAt = Math.floor(this.#now());
    const body = encodePass({ gateway, issuedAt, expiresAt: issuedAt + LIFE_MS });
    const pass = { body, sig: this.#signer.signPass(body) };
    this.#verified.set(gateway, pass);
    return pass;
  }

  #isYoung(gateway: string, written: SignedPass): boolean {
    try {
      const pass = decodePass(written.body);
      const ageMs = this.#now() - pass.issuedAt;
      const life = pass.expiresAt - pass.issuedAt;
      if (pass.gateway !== gateway || life !== LIFE_MS || Math.abs(ageMs) > RENEW_MS) return false;
    } catch (error) {
      if (error instanceof ProtocolError) return false;
      throw error;
    }
    if (this.#by !== this.#signer.current) this.#verified.clear();
    this.#by = this.#signer.current;
    const known = this.#verified.get(gateway);
    if (known && same(known.body, written.body) && same(known.sig, written.sig)) return true;
    const bytes = passBytes(written.body);
    if (!this.#by.some((key) => holdsKey(key, bytes, written.sig))) return false;
    this.#verified.set(gateway, written);
    return true;
  }
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
