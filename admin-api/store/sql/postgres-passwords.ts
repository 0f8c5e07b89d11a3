/**
 * Reads the password file (PostgreSQL documentation, 34.16): `host:port:database:user:password`, `*` for any,
 * `\` before `:` and `\`.
 */
import { readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { isSocketFolder, type PostgresAddress } from './postgres-url.ts';

export interface FoundPassword {
  password?: string;
  /** Why the file gives no password, for the error message; absent if it gives one. */
  problem?: string;
}

/** Read for each connection, so that changes of the file take effect at once. */
export function passwordFromFile(address: PostgresAddress): FoundPassword {
  const file = address.passfile ?? join(homedir(), '.pgpass');
  let text: string;
  try {
    const stat = statSync(file);
    if (!stat.isFile()) return { problem: `${file} is not a file` };
    if ((stat.mode & 0o077) !== 0) {
      return { problem: `${file} is not read because others may read it: chmod 0600 ${file}` };
    }
    text = readFileSync(file, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' && address.passfile === undefined) return {};
    return { problem: `${file} cannot be read (${code ?? error})` };
  }
  const wanted = [hostIn(address.host), String(address.port), address.database, address.user];
  for (const line of text.split(/\r?\n/)) {
    if (line === '' || line.startsWith('#')) continue;
    const fields = [...line.matchAll(/((?:\\.|[^:\\])*)(?::|$)/g)].map((match) => match[1] as string);
    const matches = wanted.every((value, i) => fields[i] === '*' || unescaped(fields[i]) === value);
    // Everything after the fourth colon, further colons included.
    if (matches) return { password: unescaped(afterFourthColon(line)) };
  }
  return { problem: `${file} has no line for ${wanted.join(':')}` };
}

/** As in libpq, a socket in the default folder has the name `localhost`. */
function hostIn(host: string): string {
  return isSocketFolder(host) && /^\/(var\/run\/postgresql|tmp)\/?$/.test(host) ? 'localhost' : host;
}

function unescaped(text = ''): string {
  return text.replace(/\\(.)/g, '$1');
}

function afterFourthColon(line: string): string {
  return /^(?:(?:\\.|[^:\\])*:){4}(.*)$/.exec(line)?.[1] ?? '';
}
