import { EXIT } from './exit-codes.ts';

/** What surrounds a command: streams, environment, and Ctrl-C; tests hand in their own. */
export interface OutputStream {
  write(text: string): unknown;
  isTTY?: boolean | undefined;
  columns?: number | undefined;
}

export interface Shell {
  env: NodeJS.ProcessEnv;
  stdout: OutputStream;
  stderr: OutputStream;
  /** Calls `onInterrupt` at SIGINT and SIGTERM until the returned function is called. */
  onInterrupt(onInterrupt: (signal: string) => void): () => void;
}

/**
 * Ends the process without a word when the reader of stdout has gone (`pushpoint groups list | head -1`). Notes that nobody
 * reads are no reason to end. Other errors of the two streams are thrown.
 */
export function endWhenUnread(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(EXIT.outputClosed);
    throw error;
  });
  process.stderr.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
}

export function processShell(): Shell {
  return {
    env: process.env,
    stdout: process.stdout,
    stderr: process.stderr,
    onInterrupt(onInterrupt) {
      process.on('SIGINT', onInterrupt).on('SIGTERM', onInterrupt);
      return () => {
        process.off('SIGINT', onInterrupt).off('SIGTERM', onInterrupt);
      };
    },
  };
}
