/** The commands of `pushpoint` as data, from which completion scripts and the manual page are generated. */
import type { Command, Option } from 'commander';

export interface CommandNode {
  /** From the program's name down: `['pushpoint', 'devices', 'list']`. */
  path: readonly string[];
  /** What follows the options: `<device> [command]`. */
  argumentsText: string;
  description: string;
  /** Title of its section in the help. */
  group: string;
  options: readonly OptionNode[];
  children: readonly CommandNode[];
}

export interface OptionNode {
  /** As typed: `--limit`, `-L`. */
  flags: readonly string[];
  /** `count`, or absent for a switch. */
  value?: string;
  choices: readonly string[];
  description: string;
}

export function commandTree(command: Command, above: readonly string[] = []): CommandNode {
  const path = [...above, command.name()];
  return {
    path,
    argumentsText: command.registeredArguments
      .map((argument) => (argument.required ? `<${argument.name()}>` : `[${argument.name()}]`))
      .join(' '),
    description: command.description(),
    group: command.helpGroup() ?? '',
    options: [
      ...command.options.filter((option) => !option.hidden).map(optionNode),
      { flags: ['--help', '-h'], choices: [], description: 'display help for command' },
    ],
    children: command.commands.map((child) => commandTree(child, path)),
  };
}

/** The node itself and all below it, parents first. */
export function allNodes(node: CommandNode): CommandNode[] {
  return [node, ...node.children.flatMap(allNodes)];
}

function optionNode(option: Option): OptionNode {
  const value = /[<[]([^.>\]]+)/.exec(option.flags)?.[1];
  return {
    flags: [option.long, option.short].filter((flag): flag is string => Boolean(flag)),
    ...(value !== undefined && { value }),
    choices: option.argChoices ?? choicesIn(option.description),
    description: option.description,
  };
}

/**
 * `loadConfig` checks the settings of programs, so Commander does not know their choices; the help lists
 * them.
 */
function choicesIn(description: string): string[] {
  return /one of: ([^;)]+)/.exec(description)?.[1]?.split(', ') ?? [];
}
