import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { startGuard } from '../services/guard.ts';
import { findMarked } from './left-behind.ts';
import type { FileOutcome } from './summary.ts';
import type { TestFile } from './test-files.ts';

/** Of a file's output, this much of the end is kept. */
const OUTPUT_KEPT_BYTES = 4_000_000;
/** How long what a test file started may take to go away after it has ended. */
const SETTLE_MS = 3_000;

/**
 * Runs one test file in a process group of its own, with temporary files in a folder below `folder`; `env` is
 * added.
 */
export async function runFile(
  file: TestFile,
  folder: string,
  env: Record<string, string> = {},
): Promise<FileOutcome> {
  const temporary = await mkdtemp(join(folder, 'f-'));
  // PostgreSQL runs as another user and must reach its own folder below this one.
  await chmod(temporary, 0o711);
  const id = randomUUID();
  const mark = `PUSHPOINT_TEST_FILE=${id}`;
  const guard = startGuard();
  const child = spawn(process.execPath, ['--enable-source-maps', file.path, ...(file.args ?? [])], {
    detached: true,
    env: {
      ...process.env,
      ...env,
      TMPDIR: temporary,
      NO_COLOR: '1',
      PUSHPOINT_TEST_FILE: id,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  guard.watch(child.pid ?? null);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-OUTPUT_KEPT_BYTES);
    });
  }
  let killedAfterMs: number | null = null;
  const timer = setTimeout(() => {
    killedAfterMs = file.timeLimitMs;
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
  }, file.timeLimitMs);
  const [exitCode, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
  clearTimeout(timer);
  const leftBehind = await endLeftBehind(mark, killedAfterMs !== null);
  // Whatever held the pipes open is gone now.
  if (!child.stdout.readableEnded) await Promise.race([once(child, 'close'), delay(1_000)]);
  await guard.release();
  return { output, exitCode, signal, killedAfterMs, leftBehind };
}

/** Gives what the file started a moment to end, then kills it; what had to be killed, unless `expected`. */
async function endLeftBehind(mark: string, expected: boolean): Promise<string[]> {
  const deadline = performance.now() + SETTLE_MS;
  let left = await findMarked(mark);
  while (left.length > 0 && performance.now() < deadline) {
    await delay(50);
    left = await findMarked(mark);
  }
  for (const { pid } of left) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It ended in between.
    }
  }
  return expected ? [] : left.map(({ pid, command }) => `${pid} ${command}`);
}

function delay(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
