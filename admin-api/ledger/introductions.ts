/** What devices say about themselves when they connect: a new name (E-5), or that a copy displaced them. */
import { LIMITS } from '../../protocol/index.ts';
import { plainText } from '../identifiers.ts';
import type { Device } from '../store/records.ts';
import type { Store } from '../store/store.ts';
import { COPIES_AT_WORK } from './copies.ts';

/** Resolves with the devices that were displaced. */
export async function recordIntroductions(
  tx: Store,
  introductions: readonly { device: string; name?: string; displaced?: true }[],
  at: number,
): Promise<Device[]> {
  await takeNames(
    tx,
    introductions.flatMap(({ device, name }) => (name === undefined ? [] : [{ device, name }])),
    at,
  );
  const displaced = introductions.filter((row) => row.displaced).map(({ device }) => device);
  if (displaced.length === 0) return [];
  const devices = await tx.devices.applyDisplaced(displaced, at);
  // Only once, not for each displacement.
  const told = devices.filter(({ displacedCount }) => displacedCount === COPIES_AT_WORK);
  const action = 'device.displaced';
  await tx.audit.append(
    ...told.map(({ id, name }) => ({ at, actor: 'system', action, subject: id, detail: { name } })),
  );
  await tx.events.append(told.map(({ id, name }) => ({ at, type: action, data: { id, name } })));
  return devices;
}

/**
 * Stores the names that devices give themselves, unless an operator named them. Appends events but no audit
 * entries: the audit trail is never pruned, and a device may change its name with every connect.
 */
export async function takeNames(
  tx: Store,
  rows: readonly { device: string; name: string }[],
  at: number,
): Promise<void> {
  const wanted = rows
    .map(({ device, name }) => ({ device, name: plainText(name, LIMITS.nameLength, '') }))
    .filter(({ name }) => name !== '');
  if (wanted.length === 0) return;
  const changed = await tx.devices.applyNames(wanted);
  await tx.events.append(
    changed.map(({ device, name }) => ({ at, type: 'device.renamed', data: { id: device, name } })),
  );
}
