import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';

/** Kills these processes and empties the list; resolves when they have ended. */
export async function killChildren(children: ChildProcess[]): Promise<void> {
  await Promise.all(
    children.splice(0).map(async (child) => {
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    }),
  );
}
