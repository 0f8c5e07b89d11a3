import { NO_EDITION } from '../../protocol/index.ts';
import type { LedgerReceipt } from '../ledger-receipt.ts';

/** Of nobody: no identifier that the server makes reads so. */
const NOBODY = 'probe-nobody';

/**
 * Receipts that change nothing, and whose application runs the statements of real ones: whether the store
 * takes any.
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
    { ...of, kind: 'status', policy: '', compliance: 'compliant', measured: [] },
    { ...of, kind: 'ack', command: NOBODY },
    { ...of, kind: 'result', command: `${NOBODY}-2`, state: 'succeeded', data: null, worker: NOBODY },
    { kind: 'undelivered', command: NOBODY, devices: [NOBODY], incarnation: NOBODY, at },
  ];
}
