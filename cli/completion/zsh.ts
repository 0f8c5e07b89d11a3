/** Completion for zsh 5. */
import { allNodes, type CommandNode, type OptionNode } from '../reference/command-tree.ts';
import { takesFile } from './values.ts';

export function zshCompletion(root: CommandNode): string {
  return `#compdef pushpoint
# zsh completion for ${root.path[0]}. Load it with: source <(pushpoint completion zsh),
# or save it as _pushpoint in your fpath.
${allNodes(root).map(nodeFunction).join('\n')}
if [ "\${funcstack[1]}" = _pushpoint ]; then
  _pushpoint "$@"
else
  compdef _pushpoint pushpoint
fi
`;
}

function nodeFunction(node: CommandNode): string {
  const specs = node.options.map((option) => `    ${optionSpec(option)}`).join(' \\\n');
  if (node.children.length === 0) return `${nameOf(node)}() {\n  _arguments -s \\\n${specs}\n}`;
  const children = node.children.map(
    (child) => `    ${single(`${child.path.at(-1)}:${escapeColons(child.description)}`)}`,
  );
  const cases = node.children.map((child) => `    ${child.path.at(-1)}) ${nameOf(child)} ;;`);
  return `${nameOf(node)}() {
  local context state state_descr line
  typeset -A opt_args
  _arguments -C \\
${specs} \\
    '1: :->command' '*:: :->rest'
  case $state in
    command)
      local -a commands=(
${children.map((child) => `    ${child}`).join('\n')}
      )
      _describe command commands
      ;;
    rest)
      case $line[1] in
${cases.map((each) => `    ${each}`).join('\n')}
      esac
      ;;
  esac
}`;
}

/** `'(-L --listen)'{-L,--listen}'[local port]:address:'`, as `_arguments` reads it. */
function optionSpec({ flags, value, choices, description, ...rest }: OptionNode): string {
  const excluded = flags.length > 1 ? single(`(${flags.join(' ')})`) : '';
  const names = flags.length > 1 ? `{${flags.join(',')}}` : (flags[0] ?? '');
  const text = `[${description.replaceAll(/[[\]]/g, '').replaceAll(':', '\\:')}]`;
  const action = choices.length > 0 ? `(${choices.join(' ')})` : '';
  const file = takesFile({ flags, choices, description, ...rest, ...(value !== undefined && { value }) });
  const argument = value === undefined ? '' : `:${value}:${file ? '_files' : action}`;
  return `${excluded}${names}${single(text + argument)}`;
}

function nameOf(node: CommandNode): string {
  return `_${node.path.join('_').replaceAll('-', '_')}`;
}

function escapeColons(text: string): string {
  return text.replaceAll(':', '\\:');
}

function single(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
