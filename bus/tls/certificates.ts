/** The TLS files of one program: reread when they change, and on request. */
import type { Logger } from 'pino';
import { Gauge, type Registry } from 'prom-client';
import type { DependencyReport } from '../../health/health.ts';
import { type CertificateUse, WatchedCertificate } from './watched-certificate.ts';

const LOOK_MS = 1_000;
const DAY_MS = 86_400_000;

export class Certificates {
  readonly #log: Logger;
  readonly #lookMs: number;
  readonly #watched = new Set<WatchedCertificate>();
  readonly #since = Date.now();
  #timer: NodeJS.Timeout | undefined;

  constructor(log: Logger, { lookMs = LOOK_MS }: { lookMs?: number } = {}) {
    this.#log = log;
    this.#lookMs = lookMs;
  }

  /** Watches the files from now on. Call it before they are first read. Returns a function that stops it. */
  watch(use: CertificateUse): () => void {
    const watched = new WatchedCertificate(use);
    this.#watched.add(watched);
    this.#timer ??= setInterval(() => this.#look(), this.#lookMs).unref();
    return () => {
      this.#watched.delete(watched);
      if (this.#watched.size > 0) return;
      clearInterval(this.#timer);
      this.#timer = undefined;
    };
  }

  /** Reads all files again, whether or not they changed. */
  reread(): void {
    for (const watched of this.#watched) this.#reread(watched);
  }

  /** Problems: invalid files, and expired certificates. */
  warnings(now = Date.now()): string[] {
    const found: string[] = [];
    for (const { problem, endsAt, use } of this.#watched) {
      if (problem !== undefined) found.push(problem);
      if (endsAt !== null && endsAt <= now) {
        found.push(`${use.name}: the certificate in ${use.certFile} ended ${new Date(endsAt).toISOString()}`);
      }
    }
    return found;
  }

  /** The program serves either way, so a problem is only a warning. `null`: no certificate is in use. */
  report(): DependencyReport | null {
    if (this.#watched.size === 0) return null;
    const warnings = this.warnings();
    const since = Math.max(this.#since, ...[...this.#watched].map((watched) => watched.since));
    return { ok: true, since: new Date(since).toISOString(), ...(warnings.length > 0 && { warnings }) };
  }

  /** `labels` go on each metric, for programs whose metrics are aggregated. */
  register(registry: Registry, labels: Readonly<Record<string, string>> = {}): void {
    const common = {
      labelNames: [...Object.keys(labels), 'certificate'],
      registers: [registry],
      aggregator: 'min' as const,
    };
    const watched = this.#watched;
    new Gauge({
      ...common,
      name: 'pushpoint_certificate_days_left',
      help: 'Days until the certificate in use ends.',
      collect() {
        this.reset();
        for (const { use, endsAt } of watched) {
          if (endsAt !== null) {
            this.set({ ...labels, certificate: use.name }, (endsAt - Date.now()) / DAY_MS);
          }
        }
      },
    });
    new Gauge({
      ...common,
      name: 'pushpoint_certificate_usable',
      help: 'Whether the TLS files are in use as they are now; 0: those read before are.',
      collect() {
        this.reset();
        for (const { use, problem } of watched) {
          this.set({ ...labels, certificate: use.name }, problem === undefined ? 1 : 0);
        }
      },
    });
  }

  #look(): void {
    for (const watched of this.#watched) if (watched.settledChange()) this.#reread(watched);
  }

  #reread(watched: WatchedCertificate): void {
    const certificate = watched.use.name;
    const wrong = watched.reread();
    if (wrong) this.#log.error({ err: wrong, certificate }, 'the certificate is not replaced');
    else this.#log.info({ certificate }, 'the certificate was read again');
  }
}
