import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

/** Runs a program of node_modules; no problems when it exits with 0, else its output as one. */
export async function runTool(
  root: string,
  tool: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<string[]> {
  const child = spawn(join(root, 'node_modules', '.bin', tool), args, {
    cwd: root,
    env: { ...process.env, NO_COLOR: '1', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  const [code] = await once(child, 'close');
  return code === 0 ? [] : [`${tool} ${args.join(' ')} ended with ${code}:\n${output.trim()}`];
}
