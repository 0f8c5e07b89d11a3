/**
 * One end of a tunnel as a program uses it: streams that outlive their connections. It starts with a ticket,
 * and continues with another (`moveTo`) when its gateway leaves.
 */
import type { TunnelSide } from '../protocol/index.ts';
import type { FrameCipher } from './frame-cipher.ts';
import {
  type LegClosed,
  type LegDial,
  type LegLimits,
  type LegOver,
  type LegTimes,
  TunnelLeg,
  type TunnelTicket,
} from './leg.ts';
import { Multiplexer, type MultiplexerParts } from './multiplexer.ts';
import { SealedFrames } from './sealed-frames.ts';
import type { StreamHandlers, TunnelStream } from './stream.ts';

export interface TunnelHooks {
  /** The gateway let this end in; also after every move and resumption. */
  joined?(gateway: { name: string; url: string }, limits: LegLimits): void;
  /** Whether both ends are there and streams flow. */
  connected?(connected: boolean): void;
  /** This end's connection dropped; it is reconnecting. */
  dropped?(how: LegClosed): void;
  /** The gateway is leaving: the tunnel ends unless `moveTo` is called soon. Once for each gateway. */
  moving?(): void;
  /**
   * The tunnel is over, exactly once; `close` does not call it. `reason`: a `TunnelEndReason`, a
   * `TunnelRefusal` or free text; `protocol` and `forged` with a colon and what was wrong.
   */
  ended?(reason: string): void;
  /** Streams open now. */
  streams?(count: number): void;
}

export interface TunnelParts
  extends Pick<MultiplexerParts, 'accept' | 'allocate' | 'streamWindow' | 'tunnelWindow'> {
  side: TunnelSide;
  dial: LegDial;
  /** Of the tunnel's key, and this tunnel's alone. */
  cipher: FrameCipher;
  times?: Partial<LegTimes>;
  /** How long to wait for `moveTo` once there is no gateway, milliseconds; default 30,000. */
  moveMs?: number;
}

export class Tunnel {
  readonly id: string;
  readonly #parts: TunnelParts;
  readonly #hooks: TunnelHooks;
  readonly #streams: Multiplexer;
  readonly #frames: SealedFrames;
  #leg: TunnelLeg | null = null;
  /** The one it moves to, and who waits for that. */
  #next: TunnelLeg | null = null;
  #move: Move | null = null;
  /** The one that takes what was still to be sent when the tunnel ended. */
  #leaving: TunnelLeg | null = null;
  #over = false;
  #moving = false;
  #bytesSent = 0;
  #bytesReceived = 0;
  #waiting: ReturnType<typeof setTimeout> | undefined;
  readonly #first: { promise: Promise<void>; resolve(): void; reject(error: Error): void };

  constructor(ticket: TunnelTicket, parts: TunnelParts, hooks: TunnelHooks = {}) {
    this.id = ticket.tunnel;
    this.#parts = parts;
    this.#hooks = hooks;
    const { side, cipher, accept, allocate, streamWindow, tunnelWindow } = parts;
    this.#frames = new SealedFrames(cipher, {
      send: (message) => {
        for (const part of message) this.#bytesSent += part.length;
        (this.#leg ?? this.#leaving)?.sendBinary(message);
      },
      receive: (frame) => this.#streams.receive(frame),
      forged: (why) => this.#finish('forged', `forged: T-14: ${why}`),
    });
    this.#streams = new Multiplexer({
      side,
      send: (frame) => this.#frames.send(frame),
      fault: (error) => this.#finish('protocol', `protocol: ${error.message}`),
      changed: (count) => {
        if (side === 'device') this.#leg?.say({ t: 'stats', streams: count });
        this.#hooks.streams?.(count);
      },
      ...(accept ? { accept } : {}),
      ...(allocate ? { allocate } : {}),
      ...(streamWindow === undefined ? {} : { streamWindow }),
      ...(tunnelWindow === undefined ? {} : { tunnelWindow }),
    });
    this.#first = deferred();
    this.#first.promise.catch(() => undefined);
    this.#leg = this.#makeLeg(ticket);
  }

  /** Streams open now. */
  get streams(): number {
    return this.#streams.streams;
  }

  /** Both ends are there. */
  get connected(): boolean {
    return this.#streams.ready;
  }

  get over(): boolean {
    return this.#over;
  }

  /** Of all sealed frames, since the beginning. */
  get bytes(): { sent: number; received: number } {
    return { sent: this.#bytesSent, received: this.#bytesReceived };
  }

  /** Resolves once the gateway has let this end join. Rejects with the reason otherwise. */
  start(): Promise<void> {
    this.#leg?.start();
    return this.#first.promise;
  }

  /** A stream to `host` and `port` as the device sees them. Throws `TooManyStreams`. */
  open(
    target: { host: string; port: number },
    handlers: StreamHandlers | ((stream: TunnelStream) => StreamHandlers),
  ): TunnelStream {
    return this.#streams.open(target, handlers);
  }

  /**
   * Continues at another gateway, or again at the same one. Resolves once this end has joined; rejects when
   * it is refused. `cipher`: of a new key, for a device that starts again there.
   */
  moveTo(ticket: TunnelTicket, cipher?: FrameCipher): Promise<void> {
    if (this.#over) return Promise.reject(new Error('the tunnel is over'));
    this.#giveUpMove('another move began', 'moved');
    const { promise, resolve, reject } = deferred();
    this.#move = { resolve, reject, cipher };
    const next = this.#makeLeg(ticket, this.#move);
    this.#next = next;
    next.start();
    return promise;
  }

  /** Ends the tunnel; the other end hears `reason`. Idempotent. */
  close(reason = 'closed'): void {
    if (!this.#over) this.#end(reason, reason);
  }

  /** Stops as if the program had been killed. */
  abandon(): void {
    this.#leg?.abandon();
    this.#next?.abandon();
    if (!this.#over) this.#end('abandoned', 'abandoned');
  }

  /** Drops the connection as a bad network would. */
  drop(): void {
    this.#leg?.drop();
  }

  #makeLeg(ticket: TunnelTicket, move?: Move): TunnelLeg {
    const { side, dial, times } = this.#parts;
    const leg: TunnelLeg = new TunnelLeg(
      ticket,
      { side, dial, ...(times ? { times } : {}) },
      {
        joined: (limits) => {
          if (leg === this.#next) this.#switchTo(leg, move?.cipher);
          this.#hooks.joined?.(leg.gateway, limits);
          if (side === 'device') leg.say({ t: 'stats', streams: this.#streams.streams });
          // Also when it joins another gateway than it was to join first.
          this.#first.resolve();
          move?.resolve();
        },
        peer: (here, pair) => {
          if (leg !== this.#leg) return;
          if (here) this.#streams.paired(pair);
          else this.#streams.unpaired();
          this.#hooks.connected?.(here);
        },
        binary: (message) => {
          if (leg !== this.#leg) return;
          this.#bytesReceived += message.length;
          this.#frames.receive(message);
        },
        move: () => {
          if (leg === this.#leg) this.#tellMoving();
        },
        dropped: (how) => {
          if (leg === this.#leg) this.#hooks.dropped?.(how);
        },
        over: (how) => this.#legOver(leg, how, move),
      },
    );
    return leg;
  }

  #switchTo(leg: TunnelLeg, cipher?: FrameCipher): void {
    if (cipher) this.#frames.rekey(cipher);
    const before = this.#leg;
    this.#leg = leg;
    this.#next = null;
    this.#move = null;
    this.#moving = false;
    clearTimeout(this.#waiting);
    this.#streams.unpaired();
    before?.leave('moved');
  }

  #legOver(leg: TunnelLeg, { reason, moving }: LegOver, move?: Move): void {
    if (leg === this.#next) {
      this.#next = null;
      this.#move = null;
      move?.reject(new Error(reason));
      return;
    }
    if (leg !== this.#leg) return;
    this.#leg = null;
    // At the same gateway the grant of the next leg replaces this one's: it may be closed, or refused when it
    // resumes, before the next one has joined.
    if (!moving && this.#next === null) {
      this.#finish(reason);
      return;
    }
    this.#tellMoving();
    const moveMs = this.#parts.moveMs ?? 30_000;
    clearTimeout(this.#waiting);
    this.#waiting = setTimeout(() => this.#finish(reason === 'moved' ? 'gateway-left' : reason), moveMs);
  }

  #tellMoving(): void {
    if (this.#moving) return;
    this.#moving = true;
    this.#hooks.moving?.();
  }

  #finish(reason: string, said = reason): void {
    if (this.#over) return;
    this.#end(reason, said);
    this.#first.reject(new Error(reason));
    this.#hooks.ended?.(said);
  }

  #end(reason: string, said: string): void {
    this.#over = true;
    clearTimeout(this.#waiting);
    const leg = this.#leg;
    this.#leaving = leg;
    this.#frames.afterSent(() => leg?.leave(reason));
    this.#giveUpMove(said, reason);
    this.#leg = null;
    this.#streams.close(said);
  }

  #giveUpMove(why: string, said: string): void {
    this.#next?.leave(said);
    this.#next = null;
    this.#move?.reject(new Error(why));
    this.#move = null;
  }
}

interface Move {
  resolve(): void;
  reject(error: Error): void;
  cipher: FrameCipher | undefined;
}

function deferred(): { promise: Promise<void>; resolve(): void; reject(error: Error): void } {
  let resolve = () => {};
  let reject: (error: Error) => void = () => {};
  const promise = new Promise<void>((onDone, onFail) => {
    resolve = onDone;
    reject = onFail;
  });
  return { promise, resolve, reject };
}
