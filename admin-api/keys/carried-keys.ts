/** The server keys that gateways carry, as an administration server on an older database finds them. */
import { type Bus, BusUnavailable, DirectoryIncomplete } from '../../bus/bus.ts';
import {
  editionOf,
  isNewer,
  type ServerKeys as Keys,
  type SignedServerKeys,
  sameDocuments,
  succeedServerKeys,
} from '../../protocol/index.ts';
import { holdsKey } from '../key-proof.ts';

/** Lists that differ: gateways have one and the same, and others may write anything to Redis. */
const LISTS_MAX = 8;

/** As gateways carry them: each list with the documents that its last one follows from. */
export type Carried = readonly (readonly SignedServerKeys[])[];

/** None where that is not known. Rejects for other errors than those of the bus. */
export async function carriedKeys(bus: Pick<Bus, 'directory'>): Promise<Carried> {
  try {
    const lists: (readonly SignedServerKeys[])[] = [];
    for (const { keys } of await bus.directory.gateways()) {
      if (keys === undefined || lists.some((list) => sameDocuments(list, keys))) continue;
      if (lists.push(keys) === LISTS_MAX) break;
    }
    return lists;
  } catch (error) {
    if (error instanceof DirectoryIncomplete || error instanceof BusUnavailable) return [];
    throw error;
  }
}

export interface Followed {
  /** The newest. */
  keys: Keys;
  /** It and those that lead there from the root. */
  documents: SignedServerKeys[];
}

/** The newest of these that follow from the root (K-3), whatever edition the database has; `null`: none. */
export async function followedFrom(root: Uint8Array, carried: Carried): Promise<Followed | null> {
  let newest: Followed | null = null;
  for (const list of carried) {
    const followed = await follow(root, list);
    if (followed && (!newest || isNewer(editionOf(followed.keys), editionOf(newest.keys)))) newest = followed;
  }
  return newest;
}

async function follow(root: Uint8Array, list: readonly SignedServerKeys[]): Promise<Followed | null> {
  const documents: SignedServerKeys[] = [];
  let held: Keys | null = null;
  for (const document of list) {
    const keys: Keys | null = await succeedServerKeys(
      held ?? { root, epoch: 0, revision: 0 },
      document,
      holdsKey,
    );
    if (keys === null) continue;
    held = keys;
    documents.push(document);
  }
  return held && { keys: held, documents };
}
