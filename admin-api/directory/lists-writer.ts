import type { Directory, DirectoryList } from '../../bus/bus.ts';
import type { Store } from '../store/store.ts';
import type { GatewayLists } from './gateway-lists.ts';

const CHUNK = 500;

export interface ListsWriterParts {
  groups: Pick<Store['groups'], 'scan'>;
  directory: Pick<Directory, 'putLists' | 'markLists' | 'listsMark'>;
  lists: GatewayLists;
  stopping(): boolean;
}

/** Writes the signed list of every group into the directory. */
export class ListsWriter {
  readonly #parts: ListsWriterParts;
  /** What this server wrote, by group, and the mark it wrote then. */
  readonly #written = new Map<string, string>();
  #mark: string | null = null;

  constructor(parts: ListsWriterParts) {
    this.#parts = parts;
  }

  /** Does nothing while those that are there are the newest; `again`: writes them all the same. */
  async write(again: boolean): Promise<void> {
    const { directory, lists } = this.#parts;
    const found = await directory.listsMark();
    if (found !== null && !again && lists.isCurrent(found)) return;
    // Lost, or somebody else's.
    if (found === null || found !== this.#mark || again) this.#written.clear();
    const { mark } = lists;
    const groups = await this.#writeAll();
    if (groups === null) return;
    for (const group of this.#written.keys()) if (!groups.has(group)) this.#written.delete(group);
    await directory.markLists(mark, groups);
    this.#mark = mark;
  }

  /** The groups that have one; `null`: the server stops. */
  async #writeAll(): Promise<Set<string> | null> {
    const { groups, directory, lists, stopping } = this.#parts;
    const listed = new Set<string>();
    for (let after = ''; ; ) {
      const found = await groups.scan(after, CHUNK);
      const changed: (DirectoryList & { version: string })[] = [];
      for (const { id, path } of found) {
        const list = lists.of(path);
        if (!list) continue;
        listed.add(id);
        const { frame, version } = list;
        if (this.#written.get(id) !== version) changed.push({ group: id, frame, version });
      }
      if (changed.length > 0) await directory.putLists(changed.map(({ group, frame }) => ({ group, frame })));
      for (const { group, version } of changed) this.#written.set(group, version);
      if (stopping()) return null;
      if (found.length < CHUNK) return listed;
      after = found.at(-1)?.id ?? after;
    }
  }
}
