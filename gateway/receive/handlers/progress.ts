import type { Receipt } from '../../../bus/bus.ts';
import type { Progress } from '../../../protocol/index.ts';
import type { Session } from '../../sessions/session.ts';

/**
 * Reports a session may have passed on at once: after `welcome` it reports on all commands that run.
 */
export const PROGRESS_BURST = 16;

/**
 * Passes a progress report on (D-5), on average one a second for a session; more are dropped (`null`). `tick`
 * is the worker's clock, `ticksPerSecond` its speed.
 */
export function handleProgress(
  session: Session,
  progress: Progress,
  at: number,
  tick: number,
  ticksPerSecond: number,
): Receipt | null {
  // The tick until which reports are spent: each costs a second, and it may be a burst ahead of the clock.
  const spentUntil = Math.max(session.progressTick, tick) + ticksPerSecond;
  if (spentUntil > tick + PROGRESS_BURST * ticksPerSecond) return null;
  session.progressTick = spentUntil;
  const receipt: Receipt = { kind: 'progress', device: session.device, command: progress.id, at };
  if (progress.percent !== undefined) receipt.percent = progress.percent;
  if (progress.note !== undefined) receipt.note = progress.note;
  return receipt;
}
