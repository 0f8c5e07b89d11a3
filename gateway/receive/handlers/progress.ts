import type { Receipt } from '../../../bus/bus.ts';
import type { Progress } from '../../../protocol/index.ts';
import type { Session } from '../../sessions/session.ts';

/** Burst of reports per session: after `welcome` it reports on all running commands. */
export const PROGRESS_BURST = 16;

/**
 * Forwards a progress report (D-5), on average one a second for each session; drops more (`null`). `tick` is
 * the worker's clock, `ticksPerSecond` its speed.
 */
export function handleProgress(
  session: Session,
  progress: Progress,
  at: number,
  tick: number,
  ticksPerSecond: number,
): Receipt | null {
  // The tick up to which the budget is spent: each report costs a second, and a burst may run ahead of the
  // clock.
  const spentUntil = Math.max(session.progressTick, tick) + ticksPerSecond;
  if (spentUntil > tick + PROGRESS_BURST * ticksPerSecond) return null;
  session.progressTick = spentUntil;
  const receipt: Receipt = { kind: 'progress', device: session.device, command: progress.id, at };
  if (progress.percent !== undefined) receipt.percent = progress.percent;
  if (progress.note !== undefined) receipt.note = progress.note;
  return receipt;
}
