import type { Tunnel } from '../store/records.ts';
import type { Store } from '../store/store.ts';

/** The fields of a tunnel in the audit trail and in events, always under the same names. */
function facts(tunnel: Tunnel): Record<string, unknown> {
  const { id, deviceId, host, port, createdBy } = tunnel;
  return { id, deviceId, host, port, createdBy, ...(tunnel.at && { gateway: tunnel.at.gateway }) };
}

/**
 * Records one step of a tunnel's life with its audit entry and its event. Call it inside the transaction of
 * that step.
 */
export async function recordTunnel(
  tx: Store,
  at: number,
  actor: string,
  action: 'tunnel.created' | 'tunnel.opened' | 'tunnel.moved' | 'tunnel.join-refused',
  tunnel: Tunnel,
  more: Record<string, unknown> = {},
): Promise<void> {
  const detail = { ...facts(tunnel), ...more };
  await tx.audit.append({ at, actor, action, subject: tunnel.id, detail });
  await tx.events.append([{ at, type: action, data: detail }]);
}

export async function recordTunnelEnds(
  tx: Store,
  at: number,
  actor: string,
  ended: readonly Tunnel[],
): Promise<void> {
  for (const tunnel of ended) {
    const { end, bytesUp, bytesDown, openedAt } = tunnel;
    const detail = {
      ...facts(tunnel),
      code: end?.code,
      reason: end?.reason,
      bytesUp,
      bytesDown,
      openMs: openedAt === null ? 0 : at - openedAt,
    };
    await tx.audit.append({ at, actor, action: 'tunnel.ended', subject: tunnel.id, detail });
    await tx.events.append([{ at, type: 'tunnel.ended', data: detail }]);
  }
}
