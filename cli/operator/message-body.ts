/**
 * The body of a message: from the command line, which every user of the machine can read, or from a file or
 * standard input.
 */
import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import type { Flags } from '../command-line.ts';
import { CliError, EXIT } from '../exit-codes.ts';
import type { Shell } from '../shell.ts';

const STDIN = '-';

export function withBody(command: Command): Command {
  return command
    .option('--body <json>', 'any JSON value')
    .option('--body-file <path>', 'the same from a file, or from standard input for `-`');
}

/** `undefined` for none. Throws `CliError`. */
export async function bodyOf(flags: Flags, shell: Shell): Promise<unknown> {
  const body = flags.body as string | undefined;
  const path = flags.bodyFile as string | undefined;
  if (body !== undefined && path !== undefined) {
    throw new CliError(EXIT.usage, 'Give --body or --body-file, not both.');
  }
  if (body !== undefined && flags.secret === true) {
    throw new CliError(
      EXIT.usage,
      'Other users of this machine can read the command line: with --secret, give the body with --body-file.',
    );
  }
  if (path === undefined) return body === undefined ? undefined : parse('--body', body);
  return parse('--body-file', path === STDIN ? await shell.readInput() : await textOf(path));
}

async function textOf(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? String(error);
    throw new CliError(EXIT.usage, `--body-file: ${path} cannot be read (${code}).`);
  }
}

function parse(flag: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The parser's message repeats the text, which may be secret.
    throw new CliError(EXIT.usage, `${flag} is not JSON.`);
  }
}
