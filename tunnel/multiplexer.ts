/**
 * One end of a tunnel: its streams over the current carrier of frames. It does not know legs or gateways.
 * `paired` means that frames get through from now on, `unpaired` that they do not; streams lose nothing
 * across the gap.
 */
import {
  DATA_HEADER,
  decodeTunnelFrame,
  encodeCredit,
  encodeHello,
  encodeOpen,
  encodeOpened,
  encodeReceived,
  encodeReset,
  FRAME,
  type ResetCode,
  TUNNEL_LIMITS,
  TUNNEL_VERSION,
  TunnelError,
  type TunnelFrame,
  type TunnelSide,
} from '../protocol/index.ts';
import { type StreamHandlers, type StreamPort, TunnelStream } from './stream.ts';

export interface MultiplexerParts {
  side: TunnelSide;
  /** `frame` is reused once the other end has confirmed these bytes. */
  send(frame: Uint8Array): void;
  /** The other end broke a rule: the tunnel cannot go on. */
  fault(error: TunnelError): void;
  /**
   * For the device's end: returns who serves a stream, or why it is refused. Without it every stream is
   * refused.
   */
  accept?(target: { host: string; port: number }): ((stream: TunnelStream) => StreamHandlers) | Refusal;
  /** A stream opened or ended. */
  changed?(streams: number): void;
  /** Memory for a frame, not cleared; `Uint8Array` when absent. */
  allocate?(bytes: number): Uint8Array;
  /** Bytes of a stream the other end may send ahead, and bytes of all that this end may have on the way. */
  streamWindow?: number;
  tunnelWindow?: number;
}

export interface Refusal {
  code: ResetCode;
  reason: string;
}

type Hello = Extract<TunnelFrame, { type: 'hello' }>;

/** RESETs to repeat after a resumption, as they may have been lost. */
const RESETS_KEPT = TUNNEL_LIMITS.streams;
const WHOLE_FRAME = DATA_HEADER + TUNNEL_LIMITS.dataBytes;
/** Full-size frames kept for reuse: as many as one fast stream has in flight and queued. */
const SPARE_FRAMES = 16;

export class Multiplexer {
  readonly #parts: MultiplexerParts;
  readonly #window: number;
  readonly #tunnelWindow: number;
  readonly #streams = new Map<number, TunnelStream>();
  /** Streams with something to send, in turn. */
  readonly #turns = new Set<TunnelStream>();
  /** The highest number a stream was opened with. */
  #highest = 0;
  #resets = new Map<number, Uint8Array>();
  #peerWindow: number = TUNNEL_LIMITS.streamWindow;
  #pair = 0;
  /** `here`: this end's hello is sent. `ready`: the other end's hello has arrived as well. */
  #state: 'away' | 'here' | 'ready' | 'over' = 'away';
  #sentBytes = 0;
  #sentAcknowledged = 0;
  #receivedBytes = 0;
  #receivedSaid = 0;
  #pumping = false;
  /** Large buffers are slow to allocate and to collect. */
  readonly #spare: Uint8Array[] = [];
  readonly #port: StreamPort;

  constructor(parts: MultiplexerParts) {
    this.#parts = parts;
    this.#window = parts.streamWindow ?? TUNNEL_LIMITS.streamWindow;
    this.#tunnelWindow = parts.tunnelWindow ?? TUNNEL_LIMITS.tunnelWindow;
    this.#port = {
      allocate: (bytes) => this.#allocate(bytes),
      release: (frame) => this.#release(frame),
      wake: (stream) => this.#wake(stream),
      credit: (stream, offset) => this.#say(encodeCredit(stream.id, offset)),
      opened: (stream) => this.#say(encodeOpened(stream.id)),
      reset: (stream, code, reason) => this.#reset(stream.id, code, reason),
      forget: (stream) => this.#forget(stream),
    };
  }

  get streams(): number {
    return this.#streams.size;
  }

  /** The two ends are connected now. */
  get ready(): boolean {
    return this.#state === 'ready';
  }

  /** Opens a stream; at the operator's end only. Written data waits until the ends are paired. */
  open(
    target: { host: string; port: number },
    handlers: StreamHandlers | ((stream: TunnelStream) => StreamHandlers),
  ): TunnelStream {
    if (this.#parts.side !== 'operator') throw new Error('streams are opened by the operator');
    if (this.#state === 'over') throw new Error('the tunnel is over');
    if (this.#streams.size >= TUNNEL_LIMITS.streams) throw new TooManyStreams();
    const id = ++this.#highest;
    const stream = this.#add({ id, ...target }, typeof handlers === 'function' ? handlers : () => handlers);
    if (this.ready) this.#parts.send(encodeOpen(id, target.host, target.port));
    return stream;
  }

  /** Frames get through to the other end; `pair` is the gateway's number for it. */
  paired(pair: number): void {
    if (this.#state === 'over') return;
    this.#pair = pair;
    this.#state = 'here';
    // Before the hello, which would otherwise only report these streams as gone.
    for (const frame of this.#resets.values()) this.#parts.send(frame);
    this.#parts.send(
      encodeHello({
        pair,
        window: this.#window,
        highest: this.#highest,
        streams: [...this.#streams.values()].map((stream) => stream.hello()),
      }),
    );
  }

  /** Frames get lost from now on. */
  unpaired(): void {
    if (this.#state !== 'over') this.#state = 'away';
  }

  /** A frame came. */
  receive(message: Uint8Array): void {
    // Before their hello of this pair there may be frames of an earlier one (T-7); a RESET stays true.
    if (this.#state === 'away' || this.#state === 'over') return;
    const early = message[0] === FRAME.hello || message[0] === FRAME.reset;
    try {
      if (this.#state === 'ready' || early) this.#take(decodeTunnelFrame(message));
    } catch (error) {
      if (!(error instanceof TunnelError)) throw error;
      this.#parts.fault(error);
    }
  }

  /** The tunnel is over: all streams are. */
  close(reason: string): void {
    if (this.#state === 'over') return;
    this.#state = 'over';
    for (const stream of [...this.#streams.values()]) stream.fail({ code: 'lost', reason, remote: true });
    this.#turns.clear();
    this.#spare.length = 0;
  }

  #take(frame: TunnelFrame): void {
    switch (frame.type) {
      case 'data': {
        this.#count(DATA_HEADER + frame.bytes.length + TUNNEL_LIMITS.sealBytes);
        this.#find(frame.stream)?.heardData(frame.offset, frame.bytes);
        return;
      }
      case 'credit':
        this.#find(frame.stream)?.heardCredit(frame.offset);
        return;
      case 'received':
        this.#heardReceived(frame.bytes);
        return;
      case 'fin':
        this.#find(frame.stream)?.heardFin(frame.offset);
        return;
      case 'opened':
        if (this.#parts.side !== 'operator') throw new TunnelError('T-8', 'opened from the operator');
        this.#find(frame.stream)?.heardOpened();
        return;
      case 'reset':
        // Perhaps of one whose OPEN was never sent.
        this.#streams.get(frame.stream)?.fail({ code: frame.code, reason: frame.reason, remote: true });
        return;
      case 'open':
        this.#heardOpen(frame);
        return;
      case 'hello':
        this.#heardHello(frame);
    }
  }

  /** `undefined` for a stream that is over here. */
  #find(id: number): TunnelStream | undefined {
    if (id > this.#highest) throw new TunnelError('T-8', `stream ${id} was never opened`);
    return this.#streams.get(id);
  }

  #heardOpen({ stream: id, host, port }: { stream: number; host: string; port: number }): void {
    if (this.#parts.side !== 'device') throw new TunnelError('T-8', 'open from the device');
    // Repeated after a resumption.
    if (id <= this.#highest) return;
    this.#highest = id;
    if (this.#streams.size >= TUNNEL_LIMITS.streams) {
      this.#reset(id, 'too-many', `at most ${TUNNEL_LIMITS.streams} streams`);
      return;
    }
    const served = this.#parts.accept?.({ host, port }) ?? {
      code: 'refused' as const,
      reason: 'nothing is served here',
    };
    if (typeof served !== 'function') this.#reset(id, served.code, served.reason);
    else this.#add({ id, host, port }, served);
  }

  #heardHello(hello: Hello): void {
    if (hello.pair !== this.#pair) return;
    if (this.#state === 'ready') throw new TunnelError('T-7', 'a second hello');
    if (hello.version !== TUNNEL_VERSION) throw new TunnelError('T-7', `version ${hello.version}`);
    if (hello.window < TUNNEL_LIMITS.dataBytes) throw new TunnelError('T-7', `window ${hello.window}`);
    this.#state = 'ready';
    this.#peerWindow = hello.window;
    this.#sentBytes = 0;
    this.#sentAcknowledged = 0;
    this.#receivedBytes = 0;
    this.#receivedSaid = 0;
    const theirs = new Map(hello.streams.map((entry) => [entry.stream, entry]));
    for (const stream of [...this.#streams.values()].sort((a, b) => a.id - b.id)) {
      const entry = theirs.get(stream.id);
      if (entry) {
        stream.resumed(entry, hello.window);
      } else if (stream.id > hello.highest && this.#parts.side === 'operator') {
        stream.resumed(null, hello.window);
        this.#parts.send(encodeOpen(stream.id, stream.host, stream.port));
      } else {
        stream.finishedThere();
      }
      if (!stream.over) this.#turns.add(stream);
    }
    this.#pump();
  }

  /** Confirms received bytes, so that the sender never has more than its window in flight (T-9). */
  #count(bytes: number): void {
    this.#receivedBytes += bytes;
    if (this.#receivedBytes - this.#receivedSaid < TUNNEL_LIMITS.tunnelWindow / 2) return;
    this.#receivedSaid = this.#receivedBytes;
    this.#say(encodeReceived(this.#receivedBytes));
  }

  #heardReceived(total: number): void {
    if (total > this.#sentBytes) throw new TunnelError('T-9', 'more received than was sent');
    this.#sentAcknowledged = Math.max(this.#sentAcknowledged, total);
    this.#pump();
  }

  #add(
    target: { id: number; host: string; port: number },
    handlers: (stream: TunnelStream) => StreamHandlers,
  ): TunnelStream {
    const windows = { own: this.#window, peer: this.#peerWindow };
    const stream = new TunnelStream(target, windows, this.#port, handlers);
    this.#streams.set(target.id, stream);
    this.#parts.changed?.(this.#streams.size);
    return stream;
  }

  #forget(stream: TunnelStream): void {
    this.#turns.delete(stream);
    if (this.#streams.delete(stream.id)) this.#parts.changed?.(this.#streams.size);
  }

  #reset(id: number, code: ResetCode, reason: string): void {
    const frame = encodeReset(id, code, reason);
    this.#resets.set(id, frame);
    for (const oldest of this.#resets.keys()) {
      if (this.#resets.size <= RESETS_KEPT) break;
      this.#resets.delete(oldest);
    }
    this.#say(frame);
  }

  #allocate(bytes: number): Uint8Array {
    const spare = bytes === WHOLE_FRAME ? this.#spare.pop() : undefined;
    return spare ?? this.#parts.allocate?.(bytes) ?? new Uint8Array(bytes);
  }

  #release(frame: Uint8Array): void {
    if (frame.length === WHOLE_FRAME && this.#spare.length < SPARE_FRAMES) this.#spare.push(frame);
  }

  /** The hello contains this, so it is sent separately only afterwards. */
  #say(frame: Uint8Array): void {
    if (this.#state === 'here' || this.#state === 'ready') this.#parts.send(frame);
  }

  #wake(stream: TunnelStream): void {
    this.#turns.add(stream);
    this.#pump();
  }

  /** Sends all permitted frames, one of each stream in turn. */
  #pump(): void {
    if (this.#state !== 'ready' || this.#pumping) return;
    this.#pumping = true;
    try {
      for (const stream of this.#turns) {
        const inFlight = this.#sentBytes - this.#sentAcknowledged;
        const room = this.#tunnelWindow - inFlight - TUNNEL_LIMITS.sealBytes;
        if (stream.sendable(room)) {
          this.#turns.delete(stream);
          const frame = stream.take();
          if (frame[0] === FRAME.data) this.#sentBytes += frame.length + TUNNEL_LIMITS.sealBytes;
          this.#parts.send(frame);
          stream.sentSome();
          if (!stream.over) this.#turns.add(stream);
        } else if (stream.sendable(Number.POSITIVE_INFINITY)) {
          // The tunnel's window is full: this stream goes first when there is room.
          break;
        } else {
          this.#turns.delete(stream);
        }
      }
    } finally {
      this.#pumping = false;
    }
  }
}

/** The tunnel has as many streams as it may. */
export class TooManyStreams extends Error {
  override readonly name = 'TooManyStreams';
}
