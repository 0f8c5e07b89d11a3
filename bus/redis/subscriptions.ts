import type { Logger } from 'pino';
import { BusUnavailable } from '../bus.ts';
import type { Commands } from './commands.ts';
import { asBusError, reasonOf } from './errors.ts';
import { Link } from './link.ts';
import { endpointName, type RedisTarget } from './settings.ts';
import type { Topology } from './topology.ts';

/** How long `on` waits for a connection that it is the first to need, milliseconds. */
const FIRST_CONNECTION_MS = 2_000;

/** The subscriber connection to one place. */
export interface Line {
  readonly link: Link;
  /** Connected, and subscribed to everything it should be. */
  live: boolean;
  /** It was live at some time. */
  wasLive: boolean;
  /** Monotonic milliseconds. */
  readonly openedAt: number;
  /** Called with every message on the probe channel of the line. */
  onProbe: (message: string) => void;
}

/**
 * The connections on which hints arrive: one to the place of each channel. Hints are lost while a connection
 * is down, so every callback is called once it is back and all channels are subscribed again. In a cluster,
 * channels are sharded.
 */
export class Subscriptions {
  readonly #target: RedisTarget;
  readonly #topology: Topology;
  readonly #probeChannel: (place: string) => string;
  readonly #log: Logger;
  readonly #onState: () => void;
  readonly #callbacks = new Map<string, Set<() => void>>();
  /** The connection on which each channel is, or should be, subscribed. */
  readonly #placeByChannel = new Map<string, string>();
  readonly #lines = new Map<string, Line>();
  #reconnects = 0;
  #open = false;

  /** `onState` is called whenever a line becomes live or stops being live. */
  constructor(
    target: RedisTarget,
    topology: Topology,
    probeChannel: (place: string) => string,
    log: Logger,
    onState: () => void,
  ) {
    this.#target = target;
    this.#topology = topology;
    this.#probeChannel = probeChannel;
    this.#log = log;
    this.#onState = onState;
  }

  open(): void {
    this.#open = true;
    this.follow();
  }

  async close(): Promise<void> {
    this.#open = false;
    this.#callbacks.clear();
    await Promise.all([...this.#lines.values()].map(({ link }) => link.close()));
  }

  get lines(): ReadonlyMap<string, Line> {
    return this.#lines;
  }

  get reconnects(): number {
    return [...this.#lines.values()].reduce((sum, { link }) => sum + link.reconnects, this.#reconnects);
  }

  /** Calls `callback` after each message. Returns a function that stops it. Rejects with `BusUnavailable`. */
  async on(channel: string, callback: () => void): Promise<() => Promise<void>> {
    // The same function given twice is two registrations, so each gets its own entry.
    const entry = () => callback();
    const callbacks = this.#callbacks.get(channel) ?? new Set();
    callbacks.add(entry);
    this.#callbacks.set(channel, callbacks);
    try {
      await this.#subscribe(channel);
    } catch (error) {
      this.#forget(channel, entry);
      throw asBusError(error);
    }
    return async () => {
      if (!this.#forget(channel, entry)) return;
      await this.#unsubscribe(channel);
    };
  }

  /** Moves channels to their new places and closes lines that are no longer needed. */
  follow(): void {
    if (!this.#open) return;
    for (const [place, line] of this.#lines) {
      const current = this.#topology.current(place);
      if (current !== null && line.link.endpoint !== null && endpointName(current) !== line.link.server) {
        this.replace(line, `${line.link.server} is no longer the primary`);
      }
    }
    // One primary has a line from the start, so that the first to need it finds it connected.
    if (this.#target.kind !== 'cluster') for (const place of this.#topology.places()) this.#lineTo(place);
    for (const [channel, before] of this.#placeByChannel) {
      const place = this.#topology.placeOf(channel);
      if (place !== null && place !== before && this.#callbacks.has(channel)) void this.#move(channel);
    }
    this.#closeIdle();
  }

  /** Announces something on a channel, without a message. Rejects with `BusUnavailable`. */
  async publish(commands: Pick<Commands, 'do'>, channel: string): Promise<void> {
    await commands.do(channel, (client) =>
      this.#target.kind === 'cluster' ? client.spublish(channel, '') : client.publish(channel, ''),
    );
  }

  /** Replaces a connection that looks alive but delivers nothing, or that is to the wrong server. */
  replace(line: Line, reason: string): void {
    line.live = false;
    line.link.renew(reason);
    this.#onState();
  }

  /** Keeps traffic on the connections, see `socketTimeout`. */
  ping(): void {
    for (const { link } of this.#lines.values()) {
      if (link.client.status !== 'ready') continue;
      link.client
        .ping()
        .catch((error: unknown) => this.#log.debug({ reason: reasonOf(error) }, 'subscriber ping'));
    }
  }

  async #subscribe(channel: string): Promise<void> {
    if (!this.#open) throw new BusUnavailable('the bus is not running');
    const place = this.#topology.placeOf(channel);
    if (place === null) throw new BusUnavailable(this.#topology.problem() ?? 'nobody serves this channel');
    this.#placeByChannel.set(channel, place);
    const isNew = !this.#lines.has(place);
    const line = this.#lineTo(place);
    if (isNew || !line.wasLive) await this.#firstConnection(line);
    if (!line.live) throw new BusUnavailable(line.link.reason);
    await this.#send(line, 'subscribe', [channel]);
  }

  async #unsubscribe(channel: string): Promise<void> {
    const line = this.#lines.get(this.#placeByChannel.get(channel) ?? '');
    this.#placeByChannel.delete(channel);
    if (line?.live !== true) return;
    try {
      await this.#send(line, 'unsubscribe', [channel]);
    } catch (error) {
      // The connection is down, and the channel is not among those it will subscribe to again.
      this.#log.debug({ reason: reasonOf(error), channel }, 'unsubscribe');
    }
  }

  async #move(channel: string): Promise<void> {
    const before = this.#lines.get(this.#placeByChannel.get(channel) ?? '');
    try {
      await this.#subscribe(channel);
      this.#call(channel);
      if (before?.live === true) await this.#send(before, 'unsubscribe', [channel]);
    } catch (error) {
      // Its line subscribes once it is connected.
      this.#log.debug({ reason: reasonOf(error), channel }, 'channel is not moved yet');
    }
  }

  async #firstConnection(line: Line): Promise<void> {
    const deadline = performance.now() + FIRST_CONNECTION_MS;
    while (!line.live && this.#open && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  async #send({ link }: Line, what: 'subscribe' | 'unsubscribe', channels: string[]): Promise<void> {
    if (this.#target.kind !== 'cluster') await link.client[what](...channels);
    // Sharded channels of one command are in one slot.
    else for (const channel of channels) await link.client[`s${what}`](channel);
  }

  #lineTo(place: string): Line {
    const existing = this.#lines.get(place);
    if (existing !== undefined) return existing;
    const link = new Link(
      this.#target,
      () => this.#topology.locate(place),
      // Together with the pings of `ping`, this detects a half-open connection.
      { socketTimeout: 4_000 },
      {
        prepare: () => this.#send(line, 'subscribe', [this.#probeChannel(place), ...this.#channelsAt(place)]),
        usable: () => {
          const again = line.wasLive;
          line.live = true;
          line.wasLive = true;
          this.#onState();
          // Before the first subscription, no hint can have been missed.
          if (!again) return;
          for (const channel of this.#channelsAt(place)) this.#call(channel);
        },
        lost: () => {
          line.live = false;
          this.#topology.look();
          this.#onState();
        },
      },
    );
    const line: Line = { link, live: false, wasLive: false, openedAt: performance.now(), onProbe: () => {} };
    const probeChannel = this.#probeChannel(place);
    link.client.on(
      this.#target.kind === 'cluster' ? 'smessage' : 'message',
      (channel: string, text: string) => {
        if (channel === probeChannel) line.onProbe(text);
        else this.#call(channel);
      },
    );
    // A server of a cluster took a channel away: its slot moved.
    (link.client as unknown as NodeJS.EventEmitter).on('moved', () => this.#topology.look());
    this.#lines.set(place, line);
    link.open();
    return line;
  }

  #channelsAt(place: string): string[] {
    return [...this.#callbacks.keys()].filter((channel) => this.#topology.placeOf(channel) === place);
  }

  #closeIdle(): void {
    if (this.#target.kind !== 'cluster') return;
    for (const [place, line] of this.#lines) {
      if (this.#channelsAt(place).length > 0) continue;
      this.#lines.delete(place);
      this.#reconnects += line.link.reconnects;
      void line.link.close();
    }
  }

  /** True when that was the last callback of the channel. */
  #forget(channel: string, entry: () => void): boolean {
    const callbacks = this.#callbacks.get(channel);
    if (callbacks?.delete(entry) !== true || callbacks.size > 0) return false;
    this.#callbacks.delete(channel);
    return true;
  }

  #call(channel: string): void {
    for (const callback of [...(this.#callbacks.get(channel) ?? [])]) {
      try {
        callback();
      } catch (error) {
        this.#log.error({ err: error, channel }, 'a hint callback failed');
      }
    }
  }
}
