import type { OptionNode } from '../reference/command-tree.ts';

/** Whether the value of an option is a path, which shells complete by themselves. */
export function takesFile(option: OptionNode): boolean {
  return option.value === 'path' || option.value === 'file';
}
