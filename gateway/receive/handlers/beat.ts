import type { Receipt } from '../../../bus/bus.ts';
import type { Authenticated, MeasuredGateway } from '../../../protocol/index.ts';
import type { Session } from '../../sessions/session.ts';

/** What the device says of itself, for the ledger (B-5): passed on unread. */
export function handleStatus(
  { device }: Session,
  { body, mac }: Authenticated,
  at: number,
  worker: string,
): Receipt {
  return { kind: 'status', device, body, mac, worker, at };
}

/** How far it measured gateways (B-1). */
export function handleMeasured({ device }: Session, measured: MeasuredGateway[], at: number): Receipt {
  return { kind: 'measured', device, measured, at };
}
