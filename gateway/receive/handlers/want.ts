import type { Receipt } from '../../../bus/bus.ts';
import type { Want } from '../../../protocol/index.ts';
import type { Session } from '../../sessions/session.ts';

/** The device asks its administration server for the key of a group. */
export function handleWant(session: Session, want: Want, at: number): Receipt {
  const { group, epoch, number } = want;
  return { kind: 'want', device: session.device, group, epoch, number, at };
}
