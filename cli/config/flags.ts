/**
 * The flags of a program, from the options table. Values stay text here: `loadConfig` checks all sources
 * alike.
 */
import { type Command, Option } from 'commander';
import { optionsOf, type Program } from './options.ts';

export function addConfigFlags(command: Command, program: Program): Command {
  for (const option of optionsOf(program)) {
    const placeholder = option.unit ?? (option.type === 'choice' ? 'choice' : option.type);
    const extra = [
      option.default === undefined
        ? option.absent && `default: ${option.absent}`
        : `default: ${option.default}`,
      option.choices && `one of: ${option.choices.join(', ')}`,
      `env: ${option.env}`,
    ].filter(Boolean);
    command.addOption(
      new Option(`--${option.name} <${placeholder}>`, `${option.description} (${extra.join('; ')})`),
    );
  }
  return command;
}
