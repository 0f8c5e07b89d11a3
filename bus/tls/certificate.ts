/** A certificate and its key, as files. */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext, type SecureContextOptions } from 'node:tls';

export interface TlsFiles {
  certFile: string;
  keyFile: string;
}

/** The oldest version of TLS on any link. */
export const MIN_TLS = { minVersion: 'TLSv1.2' } as const;

/** Throws with both files' names when they are not a certificate and its key. */
export function readTlsFiles({ certFile, keyFile }: TlsFiles): { cert: Buffer; key: Buffer } {
  try {
    const pair = { cert: readFileSync(certFile), key: readFileSync(keyFile) };
    createSecureContext(pair);
    return pair;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(`TLS files ${certFile} and ${keyFile} are not usable: ${why}`, { cause: error });
  }
}

/** Throws when the authorities, the certificate and its key cannot be used together. */
export function checkTls(options: SecureContextOptions): void {
  createSecureContext(options);
  // OpenSSL silently ignores an authority that it cannot read.
  for (const authority of [options.ca ?? []].flat()) new X509Certificate(authority);
}
