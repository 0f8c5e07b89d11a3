/**
 * One stream of a tunnel, seen from one end. Sent data stays here, as frames, until the other end has it.
 * Received data goes to the program at once; the program confirms processed bytes with `consumed`, and the
 * other end may send that many more.
 */
import {
  DATA_HEADER,
  encodeFin,
  type HelloStream,
  type ResetCode,
  TUNNEL_LIMITS,
  TunnelError,
  writeDataHeader,
} from '../protocol/index.ts';

export interface StreamReset {
  code: ResetCode | 'unknown';
  reason: string;
  /** It came from the other end. */
  remote: boolean;
}

/** Events of a stream for the program. */
export interface StreamHandlers {
  /** The device has connected it; only the operator's end hears that. */
  opened?(): void;
  /** `bytes` is only valid during the call; call `consumed` when they, or a copy of them, are processed. */
  data(bytes: Uint8Array): void;
  /** The other end sends no more. */
  end(): void;
  /** There is room again after a `write` that returned false. */
  writable(): void;
  /** The stream is over, exactly once; without `reset` both directions came to their end. */
  closed(reset?: StreamReset): void;
}

/** What the stream needs from its multiplexer. */
export interface StreamPort {
  allocate(bytes: number): Uint8Array;
  /** The other end has this frame: its memory may be reused. */
  release(frame: Uint8Array): void;
  /** There is something to send, or to say. */
  wake(stream: TunnelStream): void;
  credit(stream: TunnelStream, offset: number): void;
  opened(stream: TunnelStream): void;
  reset(stream: TunnelStream, code: ResetCode, reason: string): void;
  /** The stream is over at this end. */
  forget(stream: TunnelStream): void;
}

/** A frame of ours, kept until the other end has it. FIN counts as one byte after the last. */
interface Outgoing {
  frame: Uint8Array;
  start: number;
  end: number;
}

/** Unsent bytes from which on `write` asks for a pause. */
const UNSENT_HIGH = 128 * 1024;

export class TunnelStream {
  readonly id: number;
  readonly host: string;
  readonly port: number;
  readonly #out: StreamPort;
  readonly #handlers: StreamHandlers;
  readonly #window: number;
  readonly #queue: Outgoing[] = [];
  /** Frames of the queue sent on this pair. */
  #sent = 0;
  #written = 0;
  #sentTo = 0;
  #limit: number;
  #peerWindow: number;
  #finQueued = false;
  #wantsWritable = false;
  #received = 0;
  #consumed = 0;
  #credit: number;
  #finAt = -1;
  #ended = false;
  #opened = false;
  #over = false;

  constructor(
    target: { id: number; host: string; port: number },
    windows: { own: number; peer: number },
    out: StreamPort,
    handlers: (stream: TunnelStream) => StreamHandlers,
  ) {
    this.id = target.id;
    this.host = target.host;
    this.port = target.port;
    this.#window = windows.own;
    this.#credit = windows.own;
    this.#peerWindow = windows.peer;
    this.#limit = windows.peer;
    this.#out = out;
    this.#handlers = handlers(this);
  }

  /** Bytes accepted from the program, and bytes handed to it. */
  get bytesWritten(): number {
    return this.#written;
  }

  get bytesRead(): number {
    return this.#received;
  }

  get over(): boolean {
    return this.#over;
  }

  /**
   * Queues a copy. Returns false when the queue is full: wait for `writable`. Does nothing after `end` or the
   * stream's end.
   */
  write(bytes: Uint8Array): boolean {
    if (this.#over || this.#finQueued) return false;
    for (let at = 0; at < bytes.length; at += TUNNEL_LIMITS.dataBytes) {
      const part = bytes.subarray(at, at + TUNNEL_LIMITS.dataBytes);
      const frame = this.#out.allocate(DATA_HEADER + part.length);
      writeDataHeader(frame, this.id, this.#written);
      frame.set(part, DATA_HEADER);
      const end = this.#written + part.length;
      this.#queue.push({ frame, start: this.#written, end });
      this.#written = end;
    }
    this.#out.wake(this);
    if (this.#written - this.#sentTo < UNSENT_HIGH) return true;
    this.#wantsWritable = true;
    return false;
  }

  /** Nothing more will be written. */
  end(): void {
    if (this.#over || this.#finQueued) return;
    this.#finQueued = true;
    const start = this.#written;
    this.#queue.push({ frame: encodeFin(this.id, start), start, end: start + 1 });
    this.#out.wake(this);
  }

  /** Confirms that this many bytes of `data` are processed. */
  consumed(bytes: number): void {
    if (this.#over) return;
    this.#consumed += bytes;
    if (this.#consumed > this.#received) throw new Error('more consumed than received');
    this.#grant();
  }

  /** The device has connected it. */
  accepted(): void {
    if (this.#over || this.#opened) return;
    this.#opened = true;
    this.#out.opened(this);
  }

  /** Aborts the stream in both directions. */
  reset(code: ResetCode, reason: string): void {
    if (this.#over) return;
    this.#out.reset(this, code, reason);
    this.fail({ code, reason, remote: false });
  }

  /* ---- for the multiplexer ---- */

  /** Whether the next frame may be sent; `room`: bytes left for it in the tunnel's window. */
  sendable(room: number): boolean {
    const next = this.#queue[this.#sent];
    if (next === undefined) return false;
    // A FIN needs no room.
    return next.frame.length === DATA_HEADER || (next.end <= this.#limit && next.frame.length <= room);
  }

  /** The next frame, counted as sent; call only when it is `sendable`. */
  take(): Uint8Array {
    const next = this.#queue[this.#sent++] as Outgoing;
    this.#sentTo = Math.max(this.#sentTo, Math.min(next.end, this.#written));
    return next.frame;
  }

  /** Call it when no more can be sent for now. */
  sentSome(): void {
    if (!this.#wantsWritable || this.#written - this.#sentTo >= UNSENT_HIGH / 2) return;
    this.#wantsWritable = false;
    if (!this.#finQueued) this.#handlers.writable();
  }

  hello(): HelloStream {
    return { stream: this.id, opened: this.#opened, received: this.#receivedWithFin, credit: this.#credit };
  }

  /** Resumes after a new pairing: resends everything that the other end does not have. */
  resumed(theirs: HelloStream | null, peerWindow: number): void {
    this.#peerWindow = peerWindow;
    this.#sent = 0;
    this.#sentTo = 0;
    if (!theirs) {
      // It never heard of the stream.
      this.#limit = peerWindow;
      return;
    }
    if (theirs.received > this.#written + (this.#finQueued ? 1 : 0)) {
      throw new TunnelError('T-7', `stream ${this.id} received more than was sent`);
    }
    this.#limit = Math.max(this.#limit, theirs.credit);
    this.#acknowledged(theirs.received);
    if (theirs.opened) this.heardOpened();
  }

  heardOpened(): void {
    if (this.#opened || this.#over) return;
    this.#opened = true;
    this.#handlers.opened?.();
  }

  heardData(offset: number, bytes: Uint8Array): void {
    const end = offset + bytes.length;
    if (end > this.#credit) throw new TunnelError('T-9', `stream ${this.id} over its window`);
    if (offset > this.#received) throw new TunnelError('T-8', `a gap in stream ${this.id}`);
    if (this.#finAt >= 0 && end > this.#finAt) throw new TunnelError('T-10', 'data after FIN');
    // Data that arrives a second time after a resumption.
    if (end <= this.#received) return;
    const fresh = offset === this.#received ? bytes : bytes.subarray(this.#received - offset);
    this.#received = end;
    this.#handlers.data(fresh);
  }

  heardFin(offset: number): void {
    if (this.#finAt >= 0) {
      if (offset !== this.#finAt) throw new TunnelError('T-10', 'another FIN');
      return;
    }
    if (offset !== this.#received)
      throw new TunnelError('T-10', `FIN at ${offset}, ${this.#received} received`);
    this.#finAt = offset;
    this.#handlers.end();
    this.#grant();
  }

  heardCredit(offset: number): void {
    if (offset - this.#peerWindow > this.#written + (this.#finQueued ? 1 : 0)) {
      throw new TunnelError('T-9', `stream ${this.id} consumed more than was sent`);
    }
    if (offset <= this.#limit) return;
    this.#limit = offset;
    this.#acknowledged(offset - this.#peerWindow);
    this.#out.wake(this);
  }

  /** The other end has closed the stream, and its last frames may be lost. */
  finishedThere(): void {
    if (this.#ended && this.#finQueued) this.#finish();
    else
      this.fail({ code: 'lost', reason: 'the other end does not know this stream any more', remote: true });
  }

  /** Over at once. */
  fail(reset: StreamReset): void {
    if (this.#over) return;
    this.#over = true;
    this.#queue.length = 0;
    this.#out.forget(this);
    this.#handlers.closed(reset);
  }

  get #receivedWithFin(): number {
    return this.#received + (this.#finAt >= 0 ? 1 : 0);
  }

  /** Drops what the other end has. */
  #acknowledged(upTo: number): void {
    let gone = 0;
    while (gone < this.#queue.length && (this.#queue[gone] as Outgoing).end <= upTo) gone++;
    if (gone > 0) {
      for (const { frame } of this.#queue.splice(0, gone)) this.#out.release(frame);
      this.#sent = Math.max(0, this.#sent - gone);
      this.#sentTo = Math.max(this.#sentTo, Math.min(upTo, this.#written));
    }
    this.#finishIfDone();
  }

  /** Grants more credit, but not for small amounts. */
  #grant(): void {
    const all = this.#finAt >= 0 && this.#consumed === this.#finAt;
    const credit = this.#consumed + this.#window + (all ? 1 : 0);
    if (!all && credit - this.#credit < this.#window / 2) return;
    if (all && this.#ended) return;
    this.#credit = credit;
    this.#ended = all;
    this.#out.credit(this, credit);
    this.#finishIfDone();
  }

  #finishIfDone(): void {
    if (this.#ended && this.#finQueued && this.#queue.length === 0) this.#finish();
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    this.#queue.length = 0;
    this.#out.forget(this);
    this.#handlers.closed();
  }
}
