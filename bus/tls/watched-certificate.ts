import { X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';

export interface CertificateUse {
  /** What it is for: `api`, `gateway`, `redis` or `database`. */
  name: string;
  /** All its files; a change of any of them makes the program read them again. */
  files: readonly string[];
  /** The file whose expiry is reported; absent if only authorities are named. */
  certFile?: string | undefined;
  /** Reads, checks and applies the files. Throws, and changes nothing, when they are not usable. */
  take(): void;
}

/** TLS files in use: reloaded when they change; unusable new ones leave the previous ones in use. */
export class WatchedCertificate {
  readonly use: CertificateUse;
  #taken: string;
  #seen: string;
  #endsAt: number | null;
  #problem: string | undefined;
  #since = Date.now();

  constructor(use: CertificateUse) {
    this.use = use;
    this.#taken = this.#fingerprint();
    this.#seen = this.#taken;
    this.#endsAt = this.#readEnd();
  }

  /** When the certificate in use expires, milliseconds since the Unix epoch; `null` if there is none. */
  get endsAt(): number | null {
    return this.#endsAt;
  }

  get since(): number {
    return this.#since;
  }

  /** Why the files are not in use. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /**
   * Whether the files changed and then stayed the same for two checks: a certificate and its key are not
   * written at the same moment.
   */
  settledChange(): boolean {
    const now = this.#fingerprint();
    const settled = now === this.#seen;
    this.#seen = now;
    return settled && now !== this.#taken;
  }

  /** Returns what is wrong with the files; in that case the previous ones stay in use. */
  reread(): Error | undefined {
    this.#taken = this.#fingerprint();
    this.#since = Date.now();
    try {
      this.use.take();
      this.#endsAt = this.#readEnd();
      this.#problem = undefined;
      return undefined;
    } catch (error) {
      const wrong = error instanceof Error ? error : new Error(String(error));
      this.#problem = `${this.use.name}: ${wrong.message}; the files read before stay in use`;
      return wrong;
    }
  }

  #fingerprint(): string {
    const of = (file: string) => {
      try {
        const { ino, size, mtimeMs, ctimeMs } = statSync(file);
        return `${ino} ${size} ${mtimeMs} ${ctimeMs}`;
      } catch (error) {
        return (error as NodeJS.ErrnoException).code ?? String(error);
      }
    };
    return this.use.files.map(of).join('\n');
  }

  #readEnd(): number | null {
    const { certFile } = this.use;
    if (certFile === undefined) return null;
    try {
      return Date.parse(new X509Certificate(readFileSync(certFile)).validTo);
    } catch {
      // Its user reports the error.
      return this.#endsAt ?? null;
    }
  }
}
