import type { Receipt } from '../../../bus/bus.ts';
import type { Beat } from '../../../protocol/index.ts';
import type { Interner } from '../../admission/interner.ts';
import type { Session } from '../../sessions/session.ts';

/**
 * A heartbeat (B-1): remembers the device's status and returns a receipt when it changed. An absent field
 * means no change; `measured` is sent only when it is new, so that sessions need not remember it.
 */
export function handleBeat(session: Session, beat: Beat, at: number, interner: Interner): Receipt | null {
  const status = changedStatus(session, beat, at, interner);
  if (beat.measured === undefined) return status;
  const receipt = status ?? { kind: 'status', device: session.device, at };
  receipt.measured = beat.measured;
  return receipt;
}

type StatusReceipt = Extract<Receipt, { kind: 'status' }>;

function changedStatus(session: Session, beat: Beat, at: number, interner: Interner): StatusReceipt | null {
  const policy = beat.policy ?? session.policy;
  const compliance = beat.compliance ?? session.compliance;
  if (policy === session.policy && compliance === session.compliance) return null;
  if (policy !== undefined) session.policy = interner.text(policy);
  if (compliance !== undefined) session.compliance = compliance;
  const receipt: StatusReceipt = { kind: 'status', device: session.device, at };
  if (session.policy !== undefined) receipt.policy = session.policy;
  if (session.compliance !== undefined) receipt.compliance = session.compliance;
  return receipt;
}
