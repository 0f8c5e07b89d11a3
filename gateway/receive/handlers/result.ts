import type { Receipt } from '../../../bus/bus.ts';
import type { Result } from '../../../protocol/index.ts';
import type { Session } from '../../sessions/session.ts';

/** The end of an execution, authenticated by the device for the ledger: passed on unread. */
export function handleResult(session: Session, result: Result, at: number, worker: string): Receipt {
  const { id: command, body, mac } = result;
  return { kind: 'result', device: session.device, command, body, mac, worker, at };
}
