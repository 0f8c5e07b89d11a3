/** Streams of tunnels and Node's own: what comes from one goes into the other, each direction with its own end. */
import { connect, Socket } from 'node:net';
import type { Duplex, Readable, Writable } from 'node:stream';
import type { StreamHandlers, TunnelStream } from '../../tunnel/index.ts';
import type { ServeStream, TunnelTarget } from './tunnels.ts';

/** Time for a TCP connection to what the tunnel leads to, milliseconds. */
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
            reason: `${target.host} port ${target.port}: ${(error as NodeJS.ErrnoException | undefined)?.code ?? error?.message ?? 'closed'}`,
          },
    );
  };
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

/** Joins a stream with what is read from `input` and written to `output`: standard input and output, for example. */
export function joinStreams(
  stream: TunnelStream,
  input: Readable,
  output: Writable,
  why: Why = ABORTED,
): StreamHandlers {
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
      output.write(Buffer.from(bytes), (error) => {
        if (!error) stream.consumed(length);
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
      // What is cut short must not look like an end.
      if (output instanceof Socket && !output.connecting) output.resetAndDestroy();
      input.destroy();
      output.destroy();
    },
  };
}
