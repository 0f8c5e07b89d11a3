import { LIMITS } from '../../protocol/index.ts';
import { sortableId } from '../sortable-id.ts';
import type { OfflinePolicy } from '../store/records.ts';
import type { Store } from '../store/store.ts';

/** Half of a character, which has no UTF-8 (F-6). */
const LONE_SURROGATE = /\p{Surrogate}/gu;

/** How long a device may take to learn of a tunnel and to join it. */
export const TUNNEL_COMMAND_MS = 60_000;

/**
 * Records a command about a tunnel to one device, in the caller's transaction; wake the dispatcher after it.
 */
export async function addTunnelCommand(
  tx: Store,
  command: {
    id: string;
    type: 'tunnel.open' | 'tunnel.close';
    offline: OfflinePolicy;
    args: Record<string, unknown>;
    device: string;
    createdBy: string;
    at: number;
  },
): Promise<void> {
  const { id, type, offline, args, device, createdBy, at } = command;
  await tx.commands.create({
    id,
    type,
    args,
    target: { devices: [device] },
    offline,
    collapseKey: null,
    issuedAt: at,
    expiresAt: at + TUNNEL_COMMAND_MS,
    timeoutMs: TUNNEL_COMMAND_MS,
    createdBy,
  });
  await tx.commands.expand(id, 1, at);
  await tx.events.append([{ at, type: 'command.created', data: { id, type } }]);
}

export function newCommandId(at: number): string {
  return sortableId('c', at);
}

/** Longest reason that may travel to a device. */
export function clipReason(reason: string): string {
  const cut = reason.length <= LIMITS.noteLength ? reason : `${reason.slice(0, LIMITS.noteLength - 1)}…`;
  return cut.replace(LONE_SURROGATE, '\ufffd');
}
