/**
 * The certificate a program serves with, as its health tells it: replaced while it runs, or kept when the new
 * files are no good.
 */
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import type { DependencyReport } from '../health/health.ts';

export interface TlsFiles {
  certFile: string;
  keyFile: string;
}

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

export class Certificate {
  #since = Date.now();
  #problem: string | undefined;

  /**
   * Runs `use`, which throws when the files are no good; then the previous certificate stays. Returns what
   * went wrong.
   */
  replace(use: () => void): Error | undefined {
    try {
      use();
      this.#since = Date.now();
      this.#problem = undefined;
      return undefined;
    } catch (error) {
      const wrong = error instanceof Error ? error : new Error(String(error));
      this.#problem = `${wrong.message}; the certificate read before is served on`;
      return wrong;
    }
  }

  /** It serves either way: what is wrong is a warning. */
  report(): DependencyReport {
    return {
      ok: true,
      since: new Date(this.#since).toISOString(),
      ...(this.#problem === undefined ? {} : { warnings: [this.#problem] }),
    };
  }
}
