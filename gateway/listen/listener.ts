/**
 * Decides whether, and where, the worker listens: as its settings say, while it has capacity. A full worker
 * stops listening, so that the kernel sends new connections to its siblings, and listens again below 85 %.
 * When its siblings are full too, it listens in order to refuse and to name alternate gateways.
 */
import type { Logger } from 'pino';
import type { Descriptors } from './descriptors.ts';
import type { PushServer } from './push-server.ts';

/** Shares of the connection limit and of the process's file descriptors. */
const LOW_WATER = 0.85;
const DESCRIPTORS_FULL = 0.9;
/** Refusing takes descriptors for a moment too: above this share, the worker does not listen at all. */
const DESCRIPTORS_EXHAUSTED = 0.95;
/** Descriptors of the process itself: bus, log, event loop. */
const OWN_DESCRIPTORS = 40;
/**
 * Sockets accepted, connections opened or closed until descriptors are counted again: this many, or a share
 * of the limit.
 */
const CHANGES_PER_LOOK = 16;
const CHANGES_SHARE = 0.004;
/** Covers changes without a call: descriptors of other kinds, and the wanted state. */
const LOOK_MS = 200;

/** `open`: new devices can be admitted. `refusing`: it listens to refuse them. */
export type ListenerState = 'open' | 'refusing' | 'closed';

export interface ListenerParts {
  server: PushServer;
  descriptors: Descriptors;
  /** Devices connected. */
  connections(): number;
  /** Unauthenticated sockets: they never make a worker full. */
  unauthenticated(): number;
  /** Called after descriptors were counted, because others use the count too. */
  measured(used: number, limit: number): void;
  /** Port to listen on, and this worker's part of the connection limit. */
  port(): number;
  /** Former ports that devices may still use. */
  formerPorts(): readonly number[];
  share(): number;
  /** The wanted state while there is capacity. */
  wanted(): ListenerState;
  /** Resolves when the port may be listened on, rejects with `PortUnavailable` when not. */
  clearPort(port: number): Promise<void>;
  /** No siblings share the port: when this worker is full, the gateway is. */
  alone: boolean;
  /** Port to use while `port` cannot be listened on and this worker had no other; 0: there is none. */
  fallbackPort(): number;
  /** Called at every check. */
  onLook(): void;
  log: Logger;
}

export class Listener {
  readonly #parts: ListenerParts;
  #full = false;
  #changes = 0;
  #changesPerLook = CHANGES_PER_LOOK;
  /** Share of the descriptors in use, but for unauthenticated sockets, when they were last counted. */
  #trustedShare = 0;
  #exhausted = false;
  #siblingsFull: boolean;
  #closed = false;
  #problem: string | undefined;
  #error: unknown;
  /** The last port that was available. */
  #goodPort = 0;
  #settling: Promise<void> | null = null;
  #timer: NodeJS.Timeout | null = null;

  constructor(parts: ListenerParts) {
    this.#parts = parts;
    this.#siblingsFull = parts.alone;
  }

  /** Most connections of the worker. */
  get limit(): number {
    const descriptors = Math.floor(this.#parts.descriptors.limit * DESCRIPTORS_FULL) - OWN_DESCRIPTORS;
    return Math.min(this.#parts.share(), Math.max(1, descriptors));
  }

  get full(): boolean {
    return this.#full;
  }

  get state(): ListenerState {
    if (this.#closed || this.#exhausted) return 'closed';
    const wanted = this.#parts.wanted();
    if (wanted !== 'open' || !this.#full) return wanted;
    return this.#siblingsFull ? 'refusing' : 'closed';
  }

  /** Why it does not listen as its settings say. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Idle: it listens as it should, or there is a problem. */
  get settled(): boolean {
    return this.#settling === null;
  }

  /**
   * Listens for the first time. Rejects with `PortUnavailable` when there is not even a port to fall back on.
   */
  async start(): Promise<void> {
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
    this.#look();
    await this.apply();
    if (this.#problem !== undefined && !this.#parts.server.listening) {
      this.#parts.log.error({ problem: this.#problem }, 'cannot listen');
      throw this.#error;
    }
  }

  /**
   * Applies the current settings; resolves once it listens accordingly or there is a `problem`. In that case
   * it stays as it was and tries again at the next call.
   */
  apply(): Promise<void> {
    if (!this.#listens()) this.#parts.server.unlisten();
    this.#settling ??= this.#settle();
    return this.#settling;
  }

  /** Whether the worker's siblings, if any, are full as well. */
  setSiblingsFull(full: boolean): void {
    this.#siblingsFull = full || this.#parts.alone;
    void this.apply();
  }

  /**
   * A socket was accepted, or a connection opened or closed. Counting descriptors each time would cost as
   * much as opening one.
   */
  changed(): void {
    if (++this.#changes >= this.#changesPerLook) this.#measure();
    else if (this.#full !== this.#isFull(this.#trustedShare)) this.#measure();
  }

  /** Stops listening for good. */
  close(): void {
    this.#closed = true;
    if (this.#timer) clearInterval(this.#timer);
    this.#timer = null;
    this.#parts.server.unlisten();
  }

  #listens(): boolean {
    return this.state !== 'closed';
  }

  #look(): void {
    this.#measure();
    const { server, onLook } = this.#parts;
    if (this.#listens() !== server.listening && this.#problem === undefined) void this.apply();
    onLook();
  }

  #measure(): void {
    const { connections, descriptors, log, measured, unauthenticated } = this.#parts;
    const { limit } = this;
    const count = connections();
    const { used } = descriptors;
    const taken = used / descriptors.limit;
    this.#changes = 0;
    this.#changesPerLook = Math.max(CHANGES_PER_LOOK, Math.floor(descriptors.limit * CHANGES_SHARE));
    this.#trustedShare = Math.max(0, used - unauthenticated()) / descriptors.limit;
    measured(used, descriptors.limit);
    const full = this.#isFull(this.#trustedShare);
    const exhausted = taken >= (this.#exhausted ? DESCRIPTORS_FULL : DESCRIPTORS_EXHAUSTED);
    if (full === this.#full && exhausted === this.#exhausted) return;
    this.#full = full;
    this.#exhausted = exhausted;
    log.info({ connections: count, limit, full, descriptors: used }, 'capacity for connections changed');
    void this.apply();
  }

  #isFull(taken: number): boolean {
    const { limit } = this;
    const count = this.#parts.connections();
    return this.#full
      ? count >= limit * LOW_WATER || taken >= LOW_WATER
      : count >= limit || taken >= DESCRIPTORS_FULL;
  }

  async #settle(): Promise<void> {
    // Not in the caller's turn: `#settling` must be set before it is cleared.
    await Promise.resolve();
    const { server, clearPort, port, log } = this.#parts;
    let wanted = port();
    try {
      while (this.#listens() && !(server.listening && server.port === wanted)) {
        await clearPort(wanted);
        if (!this.#listens()) break;
        if (wanted === port()) server.listen(wanted);
        wanted = port();
      }
      if (server.listening) this.#goodPort = server.port;
      this.#problem = undefined;
    } catch (error) {
      this.#error = error;
      this.#problem = error instanceof Error ? error.message : String(error);
      log.debug({ err: error, port: wanted }, 'cannot listen as the settings say');
      await this.#fallBack();
    }
    await this.#keepFormer();
    this.#settling = null;
    if (!this.#listens()) server.unlisten();
  }

  /** A worker that does not listen, because it was full or is new, uses the previous port. */
  async #fallBack(): Promise<void> {
    const { server, clearPort, fallbackPort, log } = this.#parts;
    const port = this.#goodPort || fallbackPort();
    if (server.listening || port === 0 || !this.#listens()) return;
    try {
      await clearPort(port);
      server.listen(port);
    } catch (error) {
      log.error({ err: error, port }, 'cannot listen on the former port either');
    }
  }

  /** If another program uses it by now, it is tried again at the next call. */
  async #keepFormer(): Promise<void> {
    const { server, clearPort, formerPorts, log } = this.#parts;
    const ports = formerPorts();
    for (const port of ports) {
      if (server.ports.includes(port)) continue;
      try {
        await clearPort(port);
        if (this.#listens()) server.listenAside(port);
      } catch (error) {
        log.debug({ err: error, port }, 'cannot listen on a former port');
      }
    }
    server.keepOnly(ports);
  }
}
