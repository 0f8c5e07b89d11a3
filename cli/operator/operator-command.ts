/** What all operators' commands share: server, output and exit code. */
import { readFileSync } from 'node:fs';
import { type Command, Option } from 'commander';
import { ApiClient } from '../api/api-client.ts';
import { type CommandShell, countFlag, type Flags, type OperatorContext } from '../command-line.ts';
import { addConfigFlags } from '../config/flags.ts';
import { loadConfig } from '../config/load.ts';
import type { ConfigOf } from '../config/options.ts';
import { CliError, EXIT, type ExitCode } from '../exit-codes.ts';
import { Output } from '../output/output.ts';

export const DEFAULT_TOKEN_FILE = './data/admin-token';

/**
 * `run` gets the positional arguments in order. If it resolves with a number, that is the exit code;
 * otherwise 0.
 */
export type OperatorRun = (
  context: OperatorContext,
  args: (string | undefined)[],
  flags: Flags,
) => Promise<unknown>;

/** For the command that runs if only its parent's name is given. */
export const DEFAULT = { isDefault: true };

/** Adds a command with the flags that all share. */
export function operatorCommand(
  parent: Command,
  { shell, ending }: CommandShell,
  usage: string,
  description: string,
  run: OperatorRun,
  options: { isDefault?: boolean } = {},
): Command {
  const command = parent.command(usage, options).description(description);
  if (options.isDefault === true) refuseUnknownCommands(parent, command);
  command.option('--json', 'JSON for programs instead of tables');
  addConfigFlags(command, 'operator');
  command.action(async (...all: unknown[]) => {
    const args = all.slice(0, -2) as (string | undefined)[];
    const flags = all.at(-2) as Flags;
    const interrupt = new AbortController();
    const release = shell.onInterrupt(() => interrupt.abort());
    try {
      const config = loadConfig('operator', { flags, env: shell.env });
      const out = new Output(shell, flags.json === true);
      const api = new ApiClient({
        server: config.server,
        token: readToken(config, flags, shell.env),
        timeoutMs: config.requestTimeout,
        signal: interrupt.signal,
      });
      const result = await run({ api, out, shell, signal: interrupt.signal }, args, flags);
      ending.code = typeof result === 'number' ? (result as ExitCode) : EXIT.ok;
    } finally {
      release();
    }
  });
  return command;
}

/**
 * If no command has that name, the word after `pushpoint groups` reaches the default command as an argument.
 */
function refuseUnknownCommands(parent: Command, standIn: Command): void {
  standIn.allowExcessArguments().hook('preAction', ({ args }) => {
    const [word] = args;
    if (word === undefined) return;
    const names = parent.commands.map((each) => each.name()).join(', ');
    standIn.error(`error: unknown command '${word}' of ${parent.name()}; there is ${names}`);
  });
}

/**
 * --token-file, then PUSHPOINT_TOKEN, then the file named by environment or settings, then the one `start`
 * writes.
 */
function readToken(config: ConfigOf<'operator'>, flags: Flags, env: NodeJS.ProcessEnv): string {
  if (flags.tokenFile === undefined && env.PUSHPOINT_TOKEN)
    return checkToken(env.PUSHPOINT_TOKEN, 'PUSHPOINT_TOKEN');
  const path = config.tokenFile ?? DEFAULT_TOKEN_FILE;
  try {
    return checkToken(readFileSync(path, 'utf8'), path);
  } catch (error) {
    if (error instanceof CliError) throw error;
    const code = (error as NodeJS.ErrnoException).code ?? String(error);
    throw new CliError(
      EXIT.usage,
      `No API token: ${path} cannot be read (${code}). Set --token-file or PUSHPOINT_TOKEN, or run ` +
        `this where \`pushpoint start\` keeps its ./data.`,
    );
  }
}

function checkToken(text: string, source: string): string {
  const token = text.trim();
  // A token that does not fit in a header must not reach fetch, whose error would repeat it.
  if (!/^[\x21-\x7e]{1,256}$/.test(token))
    throw new CliError(EXIT.usage, `${source} does not hold an API token.`);
  return token;
}

/** Adds --limit, read with `limitOf`. */
export function withLimit(command: Command): Command {
  return command.addOption(
    new Option('--limit <count>', 'maximum number of items to show, or `all`')
      .default(100)
      .argParser((text) => (text === 'all' ? Number.MAX_SAFE_INTEGER : countFlag(text))),
  );
}

export function limitOf(flags: Flags): number {
  return flags.limit as number;
}

/** Up to this number, a list of executions includes what devices returned, which comes in small pages. */
const DATA_LIMIT = 100;

/** Whether to request what devices returned with a list of executions. */
export function wantsData(flags: Flags): boolean {
  return flags.data === true || limitOf(flags) <= DATA_LIMIT;
}

/** Says on stderr that a list goes on. */
export function noteMore(out: Output, next: string | null): void {
  if (next !== null) out.note('There are more; use --limit to see them.');
}
