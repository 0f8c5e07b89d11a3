/**
 * What the store holds of the signed lists of gateways (PROTOCOL.md, G-18): which gateways they name, and the
 * number of every group's list. One row, replaced as a whole.
 */
import type { GatewayAddress } from '../../protocol/index.ts';
import { groupsOnPath } from '../group-path.ts';
import type { Meta } from '../store/store.ts';

const ROW = 'gateway-lists';

/** When a list changed: the number that the change got, and the time, milliseconds since the Unix epoch. */
export interface Stamp {
  revision: number;
  at: number;
}

export interface NamedGateway extends GatewayAddress {
  group: string;
}

export interface ListRecord {
  /** Of the newest change to any list, or to which groups there are. */
  revision: number;
  /** By name. */
  gateways: readonly NamedGateway[];
  /** By group: the last change of its own gateways, or of its place in the tree. */
  groups: Readonly<Record<string, Stamp>>;
  /** The last change of all lists. */
  all: Stamp;
}

/** The number of the list for a group with this path: it grows whenever the list may be another. */
export function stampOf({ groups, all }: ListRecord, groupPath: string): Stamp {
  return groupsOnPath(groupPath)
    .flatMap((group) => groups[group] ?? [])
    .reduce((newest, stamp) => (stamp.revision > newest.revision ? stamp : newest), all);
}

type Row = Pick<Meta, 'get' | 'replace'>;
type Change = (record: ListRecord, next: Stamp) => ListRecord;

export async function readLists(meta: Pick<Meta, 'get'>): Promise<ListRecord | null> {
  const row = await meta.get(ROW);
  return row === null ? null : (JSON.parse(row) as ListRecord);
}

/** These are the gateways that lists name from now on. */
export async function recordGateways(
  meta: Row,
  gateways: readonly NamedGateway[],
  at: number,
): Promise<ListRecord> {
  const named = [...gateways].sort((a, b) => (a.name < b.name ? -1 : 1));
  return changed(meta, at, (record, next) => {
    const groups = groupsThatDiffer(record.gateways, named);
    if (groups.size === 0) return record;
    const stamps = Object.fromEntries([...groups].map((group) => [group, next]));
    return { ...record, gateways: named, groups: { ...record.groups, ...stamps } };
  });
}

/** A group is new, and needs a list. To be called in the transaction that makes it, as those below. */
export async function groupCreated(meta: Row, at: number): Promise<void> {
  await changed(meta, at, (record) => ({ ...record }));
}

/** All lists below it may be others. */
export async function groupMoved(meta: Row, group: string, at: number): Promise<void> {
  await changed(meta, at, (record, next) => ({ ...record, groups: { ...record.groups, [group]: next } }));
}

/**
 * Its numbers are forgotten. Should there be another group with this id one day, its list must be newer than
 * any that a device holds: so all lists get a new number.
 */
export async function groupDeleted(meta: Row, group: string, at: number): Promise<void> {
  await changed(meta, at, (record, next) => {
    const { [group]: its, ...groups } = record.groups;
    return its === undefined ? { ...record } : { ...record, groups, all: next };
  });
}

async function changed(meta: Row, at: number, change: Change): Promise<ListRecord> {
  for (;;) {
    const row = await meta.get(ROW);
    const before = row === null ? first(at) : (JSON.parse(row) as ListRecord);
    const revision = before.revision + 1;
    const after = change(before, { revision, at: Math.floor(at) });
    if (after === before && row !== null) return before;
    const record = { ...after, revision };
    if (await meta.replace(ROW, row, JSON.stringify(record))) return record;
  }
}

function first(at: number): ListRecord {
  return { revision: 0, gateways: [], groups: {}, all: { revision: 1, at: Math.floor(at) } };
}

/** Groups of which a gateway came, went or changed. */
function groupsThatDiffer(before: readonly NamedGateway[], after: readonly NamedGateway[]): Set<string> {
  const text = ({ name, url, group }: NamedGateway) => JSON.stringify([name, url, group]);
  const known = new Set(before.map(text));
  const now = new Set(after.map(text));
  const gone = before.filter((gateway) => !now.has(text(gateway)));
  const came = after.filter((gateway) => !known.has(text(gateway)));
  return new Set([...gone, ...came].map(({ group }) => group));
}
