import { spawn } from 'node:child_process';
import { once } from 'node:events';

/**
 * Ends a service and removes its folder when this process ends, however it ends (SIGKILL included): a shell
 * in a session of its own reads a pipe that only this process holds open, and acts when the pipe closes.
 */
export interface Guard {
  /** From now on the process group `pid` is the one to end; `null`: there is none. */
  watch(pid: number | null): void;
  /** Ends what is watched, if anything, removes the folder, and resolves when that is done. Idempotent. */
  release(): Promise<void>;
}

// Lines name the group to end, the last one counts; an empty one means none. `signal` comes first so that
// PostgreSQL can drop its shared memory; whoever is left a second later is killed.
const script = `
group=
while IFS= read -r next; do group=$next; done
if [ -n "$group" ]; then
  kill -s "$1" -- "-$group" 2>/dev/null
  for i in 1 2 3 4 5 6 7 8 9 10; do
    kill -s 0 -- "-$group" 2>/dev/null || break
    sleep 0.1
  done
  kill -s KILL -- "-$group" 2>/dev/null
fi
[ -z "$2" ] || rm -rf -- "$2" || { sleep 1; rm -rf -- "$2"; }
exit 0
`;

export function startGuard(options: { folder?: string; signal?: 'KILL' | 'QUIT' | 'TERM' } = {}): Guard {
  const shell = spawn(
    '/bin/sh',
    ['-c', script, 'pushpoint-test-guard', options.signal ?? 'KILL', options.folder ?? ''],
    {
      cwd: '/',
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
    },
  );
  shell.on('error', (error) => {
    throw error;
  });
  const ended = once(shell, 'exit');
  shell.unref();
  const pipe = shell.stdin;
  // Neither the shell nor its pipe keeps a test alive that forgot to stop something.
  (pipe as unknown as { unref(): void }).unref();
  pipe.on('error', () => {
    // The shell was killed from outside; there is nobody left to tell.
  });
  return {
    watch: (pid) => void pipe.write(`${pid ?? ''}\n`),
    async release() {
      shell.ref();
      pipe.end();
      await ended;
    },
  };
}
