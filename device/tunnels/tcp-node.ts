/** Connects streams of tunnels with Node's streams; each direction has its own end. */
import { connect, Socket } from 'node:net';
import type { Duplex, Readable, Writable } from 'node:stream';
import { TUNNEL_LIMITS } from '../../protocol/index.ts';
import type { StreamHandlers, TunnelStream } from '../../tunnel/index.ts';
import type { ServeStream, TunnelTarget } from './tunnels.ts';

/** Time limit for the TCP connection to the target, milliseconds. */
const CONNECT_MS = 10_000;

/** Serves a stream with a TCP connection to `target`. */
export function tcpConnect(target: TunnelTarget): ServeStream {
  return (stream) => {
    const socket = connect({ ...target, allowHalfOpen: true, noDelay: true });
    const timer = setTimeout(() => socket.destroy(new Error('no answer')), CONNECT_MS);
    let connected = false;
    socket.once('connect', () => {
      clearTimeout(timer);
      connected = true;
      stream.accepted();
    });
    socket.once('close', () => clearTimeout(timer));
    return joinSocket(stream, socket, (error) =>
      connected
        ? { code: 'aborted', reason: error?.message ?? 'the connection broke' }
        : {
            code: 'unreachable',
            reason:
              `${target.host} port ${target.port}: ` +
              `${(error as NodeJS.ErrnoException | undefined)?.code ?? error?.message ?? 'closed'}`,
          },
    );
  };
}

/** Blocks of at least this size are reused: collecting large blocks takes longer than copying into them. */
const LARGE = 16 * 1024;
/** As many as a stream's window has. */
const MOST_SPARE = TUNNEL_LIMITS.streamWindow / TUNNEL_LIMITS.dataBytes;

/** Copies data that is only valid during a call. */
class Copies {
  readonly #spare: Buffer[] = [];
  readonly #again: boolean;

  /**
   * `again`: the memory may be reused once its write is done. A socket no longer needs it then; other streams
   * may pass it on.
   */
  constructor(again: boolean) {
    this.#again = again;
  }

  /** Starts with `bytes`, and may be longer. */
  of(bytes: Uint8Array): Buffer {
    if (!this.#again || bytes.length < LARGE) return Buffer.from(bytes);
    const memory = this.#spare.pop() ?? Buffer.allocUnsafeSlow(TUNNEL_LIMITS.dataBytes);
    memory.set(bytes);
    return memory;
  }

  done(memory: Buffer): void {
    if (this.#again && memory.length === TUNNEL_LIMITS.dataBytes && this.#spare.length < MOST_SPARE)
      this.#spare.push(memory);
  }
}

type Why = (error?: Error) => { code: 'aborted' | 'unreachable'; reason: string };

const ABORTED: Why = (error) => ({ code: 'aborted', reason: error?.message ?? 'the connection broke' });

/** Joins a stream with a socket (or any duplex stream that may be half open). */
export function joinSocket(
  stream: TunnelStream,
  socket: Socket | Duplex,
  why: Why = ABORTED,
): StreamHandlers {
  return joinStreams(stream, socket, socket, why);
}

/** Connects a stream with an `input` and an `output`, for example standard input and output. */
export function joinStreams(
  stream: TunnelStream,
  input: Readable,
  output: Writable,
  why: Why = ABORTED,
): StreamHandlers {
  const copies = new Copies(output instanceof Socket);
  let fault: Error | undefined;
  let inputEnded = false;
  const giveUp = () => {
    if (stream.over) return;
    const { code, reason } = why(fault);
    stream.reset(code, reason);
  };
  input.on('data', (chunk: Buffer) => {
    if (!stream.write(chunk)) input.pause();
  });
  input.once('end', () => {
    inputEnded = true;
    stream.end();
  });
  input.once('close', () => {
    if (!inputEnded) giveUp();
  });
  output.once('close', () => {
    if (!output.writableFinished) giveUp();
  });
  for (const one of new Set([input, output])) {
    one.on('error', (error: Error) => {
      fault ??= error;
    });
  }
  return {
    data: (bytes) => {
      const { length } = bytes;
      const memory = copies.of(bytes);
      output.write(memory.subarray(0, length), (error) => {
        if (error) return;
        copies.done(memory);
        stream.consumed(length);
      });
    },
    end: () => {
      output.end();
    },
    writable: () => {
      input.resume();
    },
    closed: (reset) => {
      if (!reset) return;
      // A truncated stream must not look like an end. A stream that has ended is not reset: a reset during
      // the shutdown fails, and libuv keeps the descriptor for ever.
      const cutShort = !output.writableEnded || output.writableLength > 0;
      // A pipe is also a Socket and cannot be reset: its reader sees an end, and the exit code reports the
      // failure.
      const tcp = output instanceof Socket && !output.connecting && output.remotePort !== undefined;
      if (tcp && cutShort) output.resetAndDestroy();
      input.destroy();
      output.destroy();
    },
  };
}
