import type { Receipt } from '../../bus/bus.ts';
import type { TunnelReport } from '../store/store.ts';
import { endOf } from './end-reasons.ts';

export type TunnelReceipt = Extract<Receipt, { kind: 'tunnel' }>;

/** A worker's report in the store's form. */
export function toReport(receipt: TunnelReceipt): TunnelReport {
  const { tunnel, incarnation, event, side, bytesUp, bytesDown, streams, reason } = receipt;
  const report: TunnelReport = { tunnel, incarnation, bytesUp, bytesDown, streams };
  switch (event) {
    case 'joined':
    case 'resumed':
      if (side) report.here = { side, joined: true };
      break;
    case 'left':
      if (side) report.here = { side, joined: false };
      break;
    case 'refused':
      return { tunnel, incarnation, refused: true };
    case 'ended':
      // At the worker that the tunnel left, this is expected.
      if (reason !== 'moved') report.end = endOf(reason);
      break;
    case 'counters':
    case 'moving':
      break;
  }
  return report;
}
