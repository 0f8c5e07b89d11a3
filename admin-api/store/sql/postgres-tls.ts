/** TLS to PostgreSQL by the rules of libpq's `sslmode` and its files (PostgreSQL documentation, 34.19). */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { ConnectionOptions } from 'node:tls';
import { checkTls, MIN_TLS } from '../../../bus/tls/certificate.ts';
import { StoreSettingsError } from '../store-settings-error.ts';
import { isSocketFolder, type PostgresAddress } from './postgres-url.ts';

/** `false`: without TLS. */
export type TlsChoice = ConnectionOptions | false;

/** Where Debian, Red Hat and Alpine keep the authorities that the system trusts; otherwise Node's list. */
const SYSTEM_ROOTS = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/cert.pem',
];

/** Where libpq looks for files that no setting names. */
const FOLDER = join(homedir(), '.postgresql');

/** The TLS settings to try, in this order; reads the files now. Throws `StoreSettingsError`. */
export function tlsChoices(address: PostgresAddress): readonly [TlsChoice, ...TlsChoice[]] {
  const { host, sslmode } = address;
  // Nobody can eavesdrop on a Unix socket, and PostgreSQL offers no TLS there.
  if (sslmode === 'disable' || isSocketFolder(host)) return [false];
  const tls = { ...MIN_TLS, ...clientCertificate(address), ...verification(address) };
  try {
    checkTls(tls);
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
  const file = sslrootcert ?? join(FOLDER, 'root.crt');
  if (!existsSync(file)) {
    if (sslmode === 'require' && sslrootcert === undefined) return unchecked;
    throw new StoreSettingsError(
      `sslmode=${sslmode} needs the authority of the server's certificate, and ${file} does not exist: ` +
        'name it with ' +
        'sslrootcert or PGSSLROOTCERT, or use sslrootcert=system',
    );
  }
  const ca = readTlsFile('sslrootcert', file);
  // With an authority, `require` means `verify-ca`: checks the certificate, but not the name in it.
  return sslmode === 'verify-full' ? { ca } : { ca, checkServerIdentity: () => undefined };
}

/** The existing files among those that `tlsChoices` reads; `certFile` is the one to show. */
export function tlsFilesOf(address: PostgresAddress): { files: string[]; certFile?: string } {
  const { certFile, keyFile } = clientFiles(address);
  const { sslrootcert } = address;
  const rootFile = sslrootcert === 'system' ? undefined : (sslrootcert ?? join(FOLDER, 'root.crt'));
  const shows = address.sslcert !== undefined || existsSync(certFile);
  return {
    files: [...(rootFile === undefined ? [] : [rootFile]), ...(shows ? [certFile, keyFile] : [])],
    ...(shows && { certFile }),
  };
}

function clientFiles({ sslcert, sslkey }: PostgresAddress): { certFile: string; keyFile: string } {
  return {
    certFile: sslcert ?? join(FOLDER, 'postgresql.crt'),
    keyFile: sslkey ?? join(FOLDER, 'postgresql.key'),
  };
}

function clientCertificate(address: PostgresAddress): ConnectionOptions {
  const { certFile, keyFile } = clientFiles(address);
  const { sslcert, sslpassword } = address;
  if (sslcert === undefined && !existsSync(certFile)) return {};
  const cert = readTlsFile('sslcert', certFile);
  const key = readTlsFile('sslkey', keyFile);
  const { mode, uid } = statSync(keyFile);
  // As in libpq: readable by its owner only, or owned by root and readable by a group.
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
