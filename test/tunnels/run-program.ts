import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Writable } from 'node:stream';

export interface ProgramEnd {
  code: number | null;
  stdout: Buffer;
  stderr: string;
}

/** Runs a program to its end, with bytes for its standard input. Rejects when it takes too long. */
export function runProgram(
  command: string,
  args: readonly string[],
  options: { env?: NodeJS.ProcessEnv; input?: Iterable<Buffer>; timeoutMs?: number } = {},
): Promise<ProgramEnd> {
  const { env = {}, input = [], timeoutMs = 90_000 } = options;
  const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['pipe', 'pipe', 'pipe'] });
  const stdout: Buffer[] = [];
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-20_000);
  });
  const { stdin } = child;
  stdin.on('error', () => {
    // It ended without reading everything; what it gave back tells.
  });
  void feed(stdin, input);
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`${command} ${args.join(' ')} took longer than ${timeoutMs} ms:\n${stderr}`));
    }, timeoutMs);
    child.once('error', reject);
    child.once('close', (code) => {
      clearTimeout(timer);
      resolve({ code, stdout: Buffer.concat(stdout), stderr });
    });
  });
}

async function feed(stdin: Writable, input: Iterable<Buffer>): Promise<void> {
  const closed = once(stdin, 'close');
  for (const piece of input) {
    if (!stdin.write(piece)) await Promise.race([once(stdin, 'drain'), closed]);
  }
  stdin.end();
}
