import type { Receipt } from '../../../bus/bus.ts';
import type { Result } from '../../../protocol/index.ts';
import type { Session } from '../../sessions/session.ts';

/** The end of an execution as reported by the device. */
export function handleResult(session: Session, result: Result, at: number): Receipt {
  const receipt: Receipt = {
    kind: 'result',
    device: session.device,
    command: result.id,
    state: result.state,
    at,
  };
  if (result.reason !== undefined) receipt.reason = result.reason;
  if (result.data !== undefined) receipt.data = result.data;
  return receipt;
}
