import type { Receipt } from '../../bus/bus.ts';
import type { Beat } from '../../protocol/index.ts';
import type { Interner } from '../interner.ts';
import type { Session } from '../session.ts';

/**
 * A heartbeat (B-1): remembers what the device says of itself and returns a receipt when that changed. A field left out says
 * nothing new.
 */
export function handleBeat(session: Session, beat: Beat, at: number, interner: Interner): Receipt | null {
  const policy = beat.policy ?? session.policy;
  const compliance = beat.compliance ?? session.compliance;
  if (policy === session.policy && compliance === session.compliance) return null;
  if (policy !== undefined) session.policy = interner.text(policy);
  if (compliance !== undefined) session.compliance = compliance;
  const receipt: Receipt = { kind: 'status', device: session.device, at };
  if (session.policy !== undefined) receipt.policy = session.policy;
  if (session.compliance !== undefined) receipt.compliance = session.compliance;
  return receipt;
}
