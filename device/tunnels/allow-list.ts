/**
 * The device's own list of what tunnels may reach (T-12): entries such as `22`, `127.0.0.1:5432`,
 * `db.internal:5432` or `[::1]:22`. A port alone means this device itself. Nothing else is allowed.
 */

/** Names of the device itself; a port alone covers only these. */
const LOOPBACK = new Set(['127.0.0.1', 'localhost', '::1']);

interface Entry {
  /** `null`: the device itself. */
  host: string | null;
  port: number;
}

export class AllowList {
  readonly #entries: readonly Entry[];

  /** Throws an `Error` naming the entry that is none. */
  constructor(entries: readonly (string | number)[]) {
    this.#entries = entries.map(parseEntry);
  }

  allows(host: string, port: number): boolean {
    const name = normal(host);
    return this.#entries.some(
      (entry) => entry.port === port && (entry.host === null ? LOOPBACK.has(name) : entry.host === name),
    );
  }
}

function parseEntry(entry: string | number): Entry {
  const match = /^(?:(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):)?([0-9]{1,5})$/.exec(String(entry));
  const port = Number(match?.[3] ?? 0);
  if (!match || port < 1 || port > 65_535) {
    throw new Error(`${entry}: a port from 1 to 65535, or host:port`);
  }
  const host = match[1] ?? match[2];
  return { host: host === undefined ? null : normal(host), port };
}

function normal(host: string): string {
  return host.toLowerCase();
}
