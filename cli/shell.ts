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
