/**
 * Watches the directory: the gateways' settings, and whether it is complete. It reads on hints and at an
 * interval, because hints may be lost.
 */
import type { Logger } from 'pino';
import type { Directory, DirectoryGateway } from '../../bus/bus.ts';
import type { Dependency } from '../../health/health.ts';

/** Polling is faster while no device can be admitted. */
const INCOMPLETE_POLL_MS = 500;

export interface SettingsWatcherParts {
  directory: Directory;
  pollMs: number;
  health: Dependency;
  /** `mark`: which signed lists there are (G-18); `null` while that is not known. */
  onGateways: (gateways: DirectoryGateway[], mark: string | null) => void;
  log: Logger;
}

export class SettingsWatcher {
  readonly #parts: SettingsWatcherParts;
  #unsubscribe: (() => Promise<void>) | null = null;
  #timer: NodeJS.Timeout | null = null;
  #refreshing: Promise<void> | null = null;
  #again = false;
  #stopped = false;

  constructor(parts: SettingsWatcherParts) {
    this.#parts = parts;
  }

  /** Resolves after the first attempt to read; never rejects. */
  async start(): Promise<void> {
    await this.refresh();
  }

  /** Reads now; while a read is under way, once more after it. */
  refresh(): Promise<void> {
    this.#again = true;
    this.#refreshing ??= this.#run().finally(() => {
      this.#refreshing = null;
      // Requested after the last check of the flag.
      if (this.#again && !this.#stopped) void this.refresh();
    });
    return this.#refreshing;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#timer) clearTimeout(this.#timer);
    await this.#refreshing;
    try {
      await this.#unsubscribe?.();
    } catch (error) {
      this.#parts.log.debug({ err: error }, 'hints of gateways not ended');
    }
    this.#unsubscribe = null;
  }

  async #run(): Promise<void> {
    while (this.#again && !this.#stopped) {
      this.#again = false;
      if (this.#timer) clearTimeout(this.#timer);
      this.#timer = null;
      await this.#read();
    }
    if (!this.#stopped) {
      const delayMs = this.#parts.health.ok
        ? this.#parts.pollMs
        : Math.min(this.#parts.pollMs, INCOMPLETE_POLL_MS);
      this.#timer = setTimeout(() => void this.refresh(), delayMs);
    }
  }

  async #read(): Promise<void> {
    try {
      this.#unsubscribe ??= await this.#parts.directory.onGatewaysChange(() => void this.refresh());
      const { directory } = this.#parts;
      const [{ generation, problem }, gateways] = await Promise.all([directory.look(), directory.gateways()]);
      // Afterwards: lists are written before the gateways that they lead to.
      const mark = await directory.listsMark();
      if (generation === null) this.#parts.health.bad(problem ?? 'the directory is not whole');
      else this.#parts.health.good();
      // A directory that lost its data lists no gateways: that is no reason to forget them.
      if (generation !== null || gateways.length > 0) this.#parts.onGateways(gateways, mark);
    } catch (error) {
      this.#parts.health.bad(error instanceof Error ? error.message : String(error));
      this.#parts.log.debug({ err: error }, 'settings not read');
    }
  }
}
