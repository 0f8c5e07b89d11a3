import { createWriteStream, fstatSync, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { createInterface } from 'node:readline/promises';
import type { Readable, Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { isatty } from 'node:tty';
import { EXIT } from './exit-codes.ts';

/** The surroundings of a command: streams, environment, and Ctrl-C; tests pass their own. */
export interface OutputStream {
  write(text: string): unknown;
  isTTY?: boolean | undefined;
  columns?: number | undefined;
}

/** Standard input and output as bytes. */
export interface ByteStreams {
  input: Readable;
  /** Ending it closes standard output, which the reader sees at once. */
  output: Writable;
}

export interface Shell {
  env: NodeJS.ProcessEnv;
  stdout: OutputStream;
  /** It drops text that has no room. */
  stderr: OutputStream;
  /** Whether a person is at a terminal and can answer. */
  readonly interactive: boolean;
  /** Asks a person at a terminal; `undefined` if nobody can answer (scripts, pipes). */
  confirm(question: string): Promise<boolean | undefined>;
  /** All of standard input, as text. */
  readInput(): Promise<string>;
  /** Reports on stdout that a program runs. A missing reader does not end the program. */
  announce(text: string): void;
  /** Calls `onInterrupt` at SIGINT and SIGTERM until the returned function is called. */
  onInterrupt(onInterrupt: (signal: string) => void): () => void;
  /** Calls `onHangup` at SIGHUP, which then ends nothing, until the returned function is called. */
  onHangup(onHangup: () => void): () => void;
  /** Instead of `stdout`, once. A hangup (SIGHUP) ends the input from then on. */
  bytes(): ByteStreams;
}

/**
 * Ends the process silently when the reader of stdout has gone (`pushpoint groups list | head -1`). A missing
 * reader of stderr does not end it. Other errors of the two streams are thrown.
 */
function endWhenUnread(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(EXIT.outputClosed);
    throw error;
  });
}

export function processShell(): Shell {
  // Notes without room or without a reader are dropped.
  process.stderr.on('error', () => undefined);
  let stdout: NodeJS.WriteStream | undefined;
  // Created on first use, because `bytes` needs exclusive use of the descriptor.
  const standardOutput = () => {
    if (!stdout) {
      stdout = process.stdout;
      endWhenUnread();
    }
    return stdout;
  };
  return {
    env: process.env,
    stdout: {
      write: (line) => standardOutput().write(line),
      get isTTY() {
        return isatty(1);
      },
      get columns() {
        return isatty(1) ? standardOutput().columns : undefined;
      },
    },
    get interactive() {
      return isatty(0) && isatty(2);
    },
    async confirm(question) {
      if (!this.interactive) return undefined;
      const lines = createInterface({ input: process.stdin, output: process.stderr });
      try {
        return /^y(es)?$/i.test((await lines.question(`${question} [y/N] `)).trim());
      } catch (error) {
        // Ctrl-C is a no.
        if ((error as Error).name === 'AbortError') return false;
        throw error;
      } finally {
        lines.close();
      }
    },
    stderr: {
      write: (line) => attempt(() => process.stderr.write(line)),
      get isTTY() {
        return process.stderr.isTTY;
      },
      get columns() {
        return process.stderr.columns;
      },
    },
    readInput: () => text(process.stdin),
    announce: (line) => attempt(() => writeSync(1, line)),
    onInterrupt(onInterrupt) {
      process.on('SIGINT', onInterrupt).on('SIGTERM', onInterrupt);
      return () => {
        process.off('SIGINT', onInterrupt).off('SIGTERM', onInterrupt);
      };
    },
    onHangup(onHangup) {
      process.on('SIGHUP', onHangup);
      return () => {
        process.off('SIGHUP', onHangup);
      };
    },
    bytes() {
      const input = process.stdin;
      process.once('SIGHUP', () => input.destroy());
      return { input, output: writerOf(1) };
    },
  };
}

function attempt(write: () => unknown): void {
  try {
    write();
  } catch {
    // Files throw where pipes emit.
  }
}

/**
 * Writes to pipes and sockets without blocking on the reader, as `process.stdout` would; closes them at the
 * end.
 */
function writerOf(fd: number): Writable {
  const kind = fstatSync(fd);
  if (kind.isFIFO() || kind.isSocket()) return new Socket({ fd, readable: false, writable: true });
  return createWriteStream('', { fd });
}
