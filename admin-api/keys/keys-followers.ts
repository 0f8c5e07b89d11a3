/**
 * Which signing key each administration server on the database writes with. An earlier key may go only when
 * none of them uses it any more, and no clock tells that.
 */
import type { Meta } from '../store/store.ts';

const PREFIX = 'keys-follower:';
/** A server says again that it is there. */
const RENEW_MS = 60_000;
/**
 * A server that has not said so for this long is gone. One that was only paused looks which key is in use
 * before it writes (`ServerKeys.fresh`).
 */
const GONE_MS = 300_000;

interface Row {
  /** Base64url. */
  key: string;
  at: number;
}

export class KeysFollowers {
  readonly #meta: Pick<Meta, 'set' | 'list' | 'delete'>;
  readonly #row: string;
  readonly #now: () => number;
  #said: Row | undefined;

  constructor(meta: Pick<Meta, 'set' | 'list' | 'delete'>, server: string, now: () => number) {
    this.#meta = meta;
    this.#row = PREFIX + server;
    this.#now = now;
  }

  /** Whether the others know that this server writes with this key. */
  said(key: string): boolean {
    return this.#said?.key === key && Math.abs(this.#now() - this.#said.at) < RENEW_MS;
  }

  /** From here on this server writes with this key only. */
  async say(key: string): Promise<void> {
    const row = { key, at: this.#now() };
    await this.#meta.set(this.#row, JSON.stringify(row));
    this.#said = row;
  }

  /** Whether any server may still write with another key than this one. */
  async anyElse(key: string): Promise<boolean> {
    const rows = (await this.#meta.list(PREFIX)).map(({ key: name, value }) => ({
      ...(JSON.parse(value) as Row),
      name,
    }));
    const gone = rows.filter(({ at }) => this.#now() - at >= GONE_MS);
    if (gone.length > 0) await this.#meta.delete(gone.map(({ name }) => name));
    return rows.some((row) => row.key !== key && !gone.includes(row));
  }

  /** This server writes no more. */
  async leave(): Promise<void> {
    this.#said = undefined;
    await this.#meta.delete([this.#row]);
  }
}
