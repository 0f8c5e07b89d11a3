/** `pushpoint completion`: prints the script that completes commands and flags in a shell. */
import { Argument, type Command } from 'commander';
import { commandTree } from '../reference/command-tree.ts';
import type { Shell } from '../shell.ts';
import { bashCompletion } from './bash.ts';
import { fishCompletion } from './fish.ts';
import { zshCompletion } from './zsh.ts';

const SCRIPTS = { bash: bashCompletion, zsh: zshCompletion, fish: fishCompletion } as const;

const HELP = `
In this terminal:
  bash   source <(pushpoint completion bash)
  zsh    source <(pushpoint completion zsh)
  fish   pushpoint completion fish | source

For good:
  bash   pushpoint completion bash > ~/.local/share/bash-completion/completions/pushpoint
  zsh    pushpoint completion zsh > ~/.zfunc/_pushpoint        (with ~/.zfunc in fpath, before compinit)
  fish   pushpoint completion fish > ~/.config/fish/completions/pushpoint.fish
`;

export function addCompletionCommand(program: Command, shell: Shell): void {
  program
    .command('completion')
    .description('print the script that completes commands and flags in your shell')
    .addArgument(new Argument('<shell>', 'which one').choices(Object.keys(SCRIPTS)))
    .addHelpText('after', HELP)
    .action((name: keyof typeof SCRIPTS) => {
      shell.stdout.write(SCRIPTS[name](commandTree(program)));
    });
}
