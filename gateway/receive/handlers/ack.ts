import type { Receipt } from '../../../bus/bus.ts';
import type { Ack } from '../../../protocol/index.ts';
import type { Session } from '../../sessions/session.ts';

/** The device remembers the command (D-3). */
export function handleAck(session: Session, ack: Ack, at: number): Receipt {
  return { kind: 'ack', device: session.device, command: ack.id, at };
}
