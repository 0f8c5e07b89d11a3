/** One invocation of `pushpoint`: from arguments to an exit code. */
import { Command, CommanderError } from 'commander';
import type { Ending } from './command-line.ts';
import { addCompletionCommand } from './completion/completion-command.ts';
import { CliError, EXIT, type ExitCode } from './exit-codes.ts';
import { addCommandsCommands } from './operator/commands.ts';
import { addDevicesCommands } from './operator/devices.ts';
import { addGatewaysCommands } from './operator/gateways.ts';
import { addGroupsCommands } from './operator/groups.ts';
import { addJoinCommands } from './operator/joins.ts';
import { addKeysCommands } from './operator/keys.ts';
import { addObserveCommands } from './operator/observe.ts';
import { addPkiCommands } from './operator/pki.ts';
import { addRehearseCommand } from './operator/rehearse.ts';
import { addSendCommands } from './operator/send.ts';
import { addServersCommands } from './operator/servers.ts';
import { addTokenCommands } from './operator/tokens.ts';
import { addTunnelCommands } from './operator/tunnels.ts';
import { printing } from './output/printable.ts';
import { addPrograms, addRootExport } from './program-commands.ts';
import type { Shell } from './shell.ts';
import { version } from './version.ts';

export async function run(argv: readonly string[], given: Shell): Promise<ExitCode> {
  const shell = printing(given);
  const ending: Ending = { code: EXIT.ok };
  try {
    await buildCommands(shell, ending).parseAsync([...argv], { from: 'user' });
    return ending.code;
  } catch (error) {
    // Commander has already printed its message; --help and --version end with 0, everything else is wrong
    // usage.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    if (error instanceof CliError) {
      if (error.message !== '') shell.stderr.write(`${error.message}\n`);
      return error.exitCode;
    }
    shell.stderr.write(`Unexpected fault: ${(error as Error)?.stack ?? String(error)}\n`);
    return EXIT.fault;
  }
}

/** The whole tree of commands. */
export function buildCommands(shell: Shell, ending: Ending): Command {
  const program = new Command('pushpoint')
    .description('WebSocket-first push gateway for managed devices')
    .version(version())
    .showHelpAfterError('(--help shows what there is)')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void shell.stdout.write(text),
      writeErr: (text) => void shell.stderr.write(text),
    });
  const operators = { shell, ending };
  program.commandsGroup('Programs:');
  addPrograms(program, operators);
  program.commandsGroup('Commanding devices:');
  addSendCommands(program, operators);
  addCommandsCommands(program, operators);
  addTunnelCommands(program, operators);
  program.commandsGroup('Looking after things:');
  addDevicesCommands(program, operators);
  addGroupsCommands(program, operators);
  addJoinCommands(addGatewaysCommands(program, operators), operators);
  addServersCommands(program, operators);
  addPkiCommands(program, operators);
  addRehearseCommand(program, operators);
  addTokenCommands(program, operators);
  addRootExport(addKeysCommands(program, operators), operators);
  addObserveCommands(program, operators);
  addCompletionCommand(program, shell);
  return program;
}
