/** Completion for fish 3. */
import { allNodes, type CommandNode, type OptionNode } from '../reference/command-tree.ts';
import { takesFile } from './values.ts';

export function fishCompletion(root: CommandNode): string {
  const nodes = allNodes(root);
  const paths = nodes.slice(1).map((node) => single(node.path.join(' ')));
  return `# fish completion for ${root.path[0]}. Load it with: pushpoint completion fish | source
function __pushpoint_at
    set -l path pushpoint
    for word in (commandline -opc)[2..]
        if contains -- "$path $word" ${paths.join(' ')}
            set path "$path $word"
        end
    end
    test "$path" = "$argv"
end
complete -c pushpoint -f
${nodes.flatMap(lines).join('\n')}
`;
}

function lines(node: CommandNode): string[] {
  const at = `complete -c pushpoint -n ${single(`__pushpoint_at ${node.path.join(' ')}`)}`;
  return [
    ...node.children.map((child) => `${at} -a ${child.path.at(-1)} -d ${single(child.description)}`),
    ...node.options.map((option) => `${at} ${optionText(option)} -d ${single(option.description)}`),
  ];
}

function optionText(option: OptionNode): string {
  const names = option.flags.map((flag) =>
    flag.startsWith('--') ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`,
  );
  if (option.value === undefined) return names.join(' ');
  if (takesFile(option)) return `${names.join(' ')} -rF`;
  return [
    ...names,
    '-x',
    ...(option.choices.length > 0 ? [`-a ${single(option.choices.join(' '))}`] : []),
  ].join(' ');
}

function single(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
