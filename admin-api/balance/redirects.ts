/**
 * Deliveries that send devices to another gateway (PROTOCOL.md, G-3): first the frame, then these exact
 * sessions end.
 */
import type { Delivery } from '../../bus/bus.ts';
import { CLOSE, encodeGatewayMessage } from '../../protocol/index.ts';

export interface HeldSession {
  id: string;
  session: number;
}

/** To spread the load: `to` names the destination first. */
export function balanceRedirect(sessions: readonly HeldSession[], to: string[]): Delivery {
  return redirect(sessions, to, 'balance', CLOSE.redirected);
}

/** The gateway they are on does not serve their group. */
export function outOfScope(sessions: readonly HeldSession[], to: string[]): Delivery {
  return redirect(sessions, to, 'scope', CLOSE.outOfScope);
}

function redirect(
  sessions: readonly HeldSession[],
  to: string[],
  reason: 'balance' | 'scope',
  code: number,
): Delivery {
  return {
    devices: sessions.map(({ id }) => id),
    frame: encodeGatewayMessage({ t: 'redirect', to, reason, withinMs: 0 }),
    close: { code, reason, sessions: sessions.map(({ session }) => session) },
  };
}
