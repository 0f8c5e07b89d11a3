/**
 * Administration servers that have a certificate and run: a rotation of the authority waits for them. Each
 * says so in the database now and then.
 */
import type { Meta } from '../store/store.ts';

const PREFIX = 'server-running:';
/** A server says again that it is there, milliseconds. */
const RENEW_MS = 60_000;
/** One that has not said so for this long is gone. */
const GONE_MS = 300_000;

type Rows = Pick<Meta, 'set' | 'list' | 'delete'>;

interface Row {
  name: string;
  at: number;
}

interface Named {
  name: string;
  /** Of its certificate. */
  serial: string;
}

/** What this server says of itself. */
export class RunningServer {
  readonly #meta: Rows;
  readonly #now: () => number;
  #said: { serial: string; at: number } | undefined;

  constructor(meta: Rows, now: () => number) {
    this.#meta = meta;
    this.#now = now;
  }

  /** To be called often: writes only what is new, or what would be too old soon. */
  async say({ name, serial }: Named): Promise<void> {
    const at = this.#now();
    const before = this.#said;
    if (before?.serial === serial && Math.abs(at - before.at) < RENEW_MS) return;
    await this.#meta.set(PREFIX + serial, JSON.stringify({ name, at } satisfies Row));
    this.#said = { serial, at };
    if (before?.serial === serial) return;
    const gone = (await rowsOf(this.#meta)).filter((row) => at - row.at >= GONE_MS);
    await this.#meta.delete([before, ...gone].flatMap((row) => (row ? [PREFIX + row.serial] : [])));
  }

  /** Whoever took its name over goes on. */
  async leave(): Promise<void> {
    if (this.#said) await this.#meta.delete([PREFIX + this.#said.serial]);
    this.#said = undefined;
  }
}

/** Those that run, in the order of their names. */
export async function runningServers(meta: Pick<Meta, 'list'>, now: number): Promise<Named[]> {
  const here = (await rowsOf(meta)).filter(({ at }) => now - at < GONE_MS);
  return here.map(({ name, serial }) => ({ name, serial })).sort((a, b) => (a.name < b.name ? -1 : 1));
}

async function rowsOf(meta: Pick<Meta, 'list'>): Promise<(Named & Row)[]> {
  const rows = await meta.list(PREFIX);
  return rows.map(({ key, value }) => ({ ...(JSON.parse(value) as Row), serial: key.slice(PREFIX.length) }));
}
