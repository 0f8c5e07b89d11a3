/** TLS to PostgreSQL as libpq's `sslmode` and its files say (PostgreSQL documentation, 34.19). */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { type ConnectionOptions, createSecureContext } from 'node:tls';
import { StoreSettingsError } from '../store-settings-error.ts';
import { isSocketFolder, type PostgresAddress } from './postgres-url.ts';

/** `false`: without TLS. */
export type TlsChoice = ConnectionOptions | false;

/**
 * Where Debian, Red Hat and Alpine keep the authorities that the system trusts; without it Node's own list is
 * used.
 */
const SYSTEM_ROOTS = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/cert.pem',
];

/** What to try, in this order; files are read now. Throws `StoreSettingsError`. */
export function tlsChoices(address: PostgresAddress): readonly [TlsChoice, ...TlsChoice[]] {
  const { host, sslmode } = address;
  // Nobody listens in on a Unix socket, and PostgreSQL offers no TLS there.
  if (sslmode === 'disable' || isSocketFolder(host)) return [false];
  const tls = { minVersion: 'TLSv1.2' as const, ...clientCertificate(address), ...verification(address) };
  try {
    createSecureContext(tls);
  } catch (error) {
    throw new StoreSettingsError(`The TLS files for the database do not fit: ${(error as Error).message}`);
  }
  if (sslmode === 'allow') return [false, tls];
  return sslmode === 'prefer' ? [tls, false] : [tls];
}

function verification({ sslmode, sslrootcert }: PostgresAddress): ConnectionOptions {
  const unchecked = { rejectUnauthorized: false };
  if (sslrootcert === 'system') {
    if (sslmode !== 'verify-full') {
      throw new StoreSettingsError(`sslrootcert=system needs sslmode=verify-full, and it is ${sslmode}`);
    }
    const file = SYSTEM_ROOTS.find(existsSync);
    return file === undefined ? {} : { ca: readFileSync(file) };
  }
  if (sslmode === 'allow' || sslmode === 'prefer') return unchecked;
  const file = sslrootcert ?? join(homedir(), '.postgresql', 'root.crt');
  if (!existsSync(file)) {
    if (sslmode === 'require' && sslrootcert === undefined) return unchecked;
    throw new StoreSettingsError(
      `sslmode=${sslmode} needs the authority of the server's certificate, and ${file} does not exist: name it with ` +
        'sslrootcert or PGSSLROOTCERT, or use sslrootcert=system',
    );
  }
  const ca = readTlsFile('sslrootcert', file);
  // With an authority `require` is `verify-ca`: the certificate is checked, the name in it is not.
  return sslmode === 'verify-full' ? { ca } : { ca, checkServerIdentity: () => undefined };
}

function clientCertificate({ sslcert, sslkey, sslpassword }: PostgresAddress): ConnectionOptions {
  const folder = join(homedir(), '.postgresql');
  const certFile = sslcert ?? join(folder, 'postgresql.crt');
  const keyFile = sslkey ?? join(folder, 'postgresql.key');
  if (sslcert === undefined && !existsSync(certFile)) return {};
  const cert = readTlsFile('sslcert', certFile);
  const key = readTlsFile('sslkey', keyFile);
  const { mode, uid } = statSync(keyFile);
  // As libpq: for its owner only, or root's and readable by a group.
  if ((mode & 0o077) !== 0 && !(uid === 0 && (mode & 0o037) === 0)) {
    throw new StoreSettingsError(`The key ${keyFile} may be read by others: chmod 0600 ${keyFile}`);
  }
  return { cert, key, ...(sslpassword === undefined ? {} : { passphrase: sslpassword }) };
}

function readTlsFile(name: string, file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new StoreSettingsError(
      `${name}: ${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? error})`,
    );
  }
}
