/** The load that a worker reports with every extension of its lease. */
import type { LeavingReason, WorkerLoad } from '../../bus/bus.ts';
import type { Edition } from '../../protocol/index.ts';
import type { Percentiles } from '../sessions/percentiles.ts';

export interface LoadSources {
  connections(): number;
  /** Sessions admitted since the last call. */
  takeAdmissions(): number;
  bufferedBytes(): number;
  /** Most connections it accepts. */
  limit(): number;
  /** Port it listens on, and the revision of the settings it applied. */
  port(): number | undefined;
  revision(): number;
  /** Edition of the server keys that all its devices have received. */
  keys(): Edition;
  roundTripMs(): Percentiles | undefined;
  leaving(): { why: LeavingReason; left: number } | undefined;
  problem(): string | undefined;
  tunnels(): { open: number; limit: number } | undefined;
  warnings(): string[];
}

export class LoadMeter {
  readonly #sources: LoadSources;
  #at = performance.now();
  #cpu = process.cpuUsage();
  #memoryBytes = 0;

  constructor(sources: LoadSources) {
    this.#sources = sources;
  }

  /** The load since the last call. */
  read(): WorkerLoad {
    const now = performance.now();
    const seconds = Math.max(0.001, (now - this.#at) / 1_000);
    const cpu = process.cpuUsage(this.#cpu);
    this.#at = now;
    this.#cpu = process.cpuUsage();
    try {
      this.#memoryBytes = process.memoryUsage.rss();
    } catch {
      // Reading takes a file descriptor; without one, the last value is reported.
    }
    const problem = this.#sources.problem();
    const port = this.#sources.port();
    const roundTripMs = this.#sources.roundTripMs();
    const leaving = this.#sources.leaving();
    const tunnels = this.#sources.tunnels();
    const warnings = this.#sources.warnings();
    return {
      connections: this.#sources.connections(),
      limit: this.#sources.limit(),
      admissionRate: this.#sources.takeAdmissions() / seconds,
      bufferedBytes: this.#sources.bufferedBytes(),
      memoryBytes: this.#memoryBytes,
      cpu: (cpu.user + cpu.system) / 1e6 / seconds,
      revision: this.#sources.revision(),
      keys: this.#sources.keys(),
      ...(roundTripMs === undefined ? {} : { roundTripMs }),
      ...(leaving === undefined ? {} : { leaving }),
      ...(port === undefined ? {} : { port }),
      ...(problem === undefined ? {} : { problem }),
      ...(tunnels === undefined ? {} : { tunnels }),
      ...(warnings.length === 0 ? {} : { warnings }),
    };
  }
}
