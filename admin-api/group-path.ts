/** Ids of the groups on a path, root first: `all/emea/` gives `all`, `emea`. */
export function groupsOnPath(path: string): string[] {
  return path.split('/').filter((id) => id !== '');
}
