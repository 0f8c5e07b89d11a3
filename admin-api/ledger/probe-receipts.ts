import { NO_EDITION } from '../../protocol/index.ts';
import type { LedgerReceipt } from '../ledger-receipt.ts';

/** Belongs to nobody: the server makes no such identifier. */
const NOBODY = 'probe-nobody';

/**
 * Receipts that change nothing, but run the same statements as real ones: they show whether the store takes
 * receipts at all.
 */
export function probeReceipts(at: number): LedgerReceipt[] {
  const of = { device: NOBODY, at };
  return [
    {
      ...of,
      kind: 'connected',
      session: 0,
      incarnation: NOBODY,
      worker: NOBODY,
      gateway: NOBODY,
      address: '',
      software: '',
      caps: [],
      membership: NO_EDITION,
    },
    { ...of, kind: 'status', number: 1, policy: '', compliance: 'compliant' },
    { ...of, kind: 'measured', measured: [] },
    { ...of, kind: 'ack', command: NOBODY },
    { ...of, kind: 'result', command: `${NOBODY}-2`, state: 'succeeded', data: null, worker: NOBODY },
    { kind: 'undelivered', command: NOBODY, devices: [NOBODY], incarnation: NOBODY, at },
  ];
}
