/** Completion for bash 4 and later. */
import { allNodes, type CommandNode } from '../reference/command-tree.ts';
import { takesFile } from './values.ts';

export function bashCompletion(root: CommandNode): string {
  const nodes = allNodes(root);
  const paths = nodes.slice(1).map((node) => quoted(node.path.join(' ')));
  return `# bash completion for ${root.path[0]}. Load it with: source <(pushpoint completion bash)
_pushpoint() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]} path=pushpoint words= i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$path \${COMP_WORDS[i]}" in
      ${paths.join(' | ')}) path+=" \${COMP_WORDS[i]}" ;;
    esac
  done
  case "$path $prev" in
${nodes.flatMap(valueCases).join('\n')}
  esac
  case $path in
${nodes.map(wordCase).join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -F _pushpoint pushpoint
`;
}

/** What may follow an option that takes a value: its choices, a file, or nothing that a script can know. */
function valueCases(node: CommandNode): string[] {
  return node.options
    .filter((option) => option.value !== undefined)
    .map((option) => {
      const patterns = option.flags.map((flag) => quoted(`${node.path.join(' ')} ${flag}`)).join(' | ');
      const values = takesFile(option)
        ? '$(compgen -f -- "$cur")'
        : `$(compgen -W "${option.choices.join(' ')}" -- "$cur")`;
      return `    ${patterns}) COMPREPLY=(${values}); return ;;`;
    });
}

function wordCase(node: CommandNode): string {
  const children = node.children.map((child) => child.path.at(-1));
  const flags = node.options.flatMap((option) => option.flags);
  return `    ${quoted(node.path.join(' '))}) words="${[...children, ...flags].join(' ')}" ;;`;
}

function quoted(text: string): string {
  return `"${text}"`;
}
