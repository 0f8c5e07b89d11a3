/** Computes how a report about a session changes the stored device. Pure. */
import type { DeviceTable } from '../sql/schema.ts';
import type { SessionChange } from '../store.ts';

/** The columns that a report may change, and the key. */
export const SESSION_COLUMNS = {
  id: 'text',
  session: 'integer',
  connected: 'integer',
  gateway: 'text',
  worker: 'text',
  incarnation: 'text',
  address: 'text',
  software: 'text',
  caps_json: 'text',
  connected_at: 'integer',
  disconnected_at: 'integer',
  close_code: 'integer',
  close_reason: 'text',
} as const;

export type SessionRow = Pick<DeviceTable, keyof typeof SESSION_COLUMNS>;

/** The new row; `null` if the report is late or repeated and changes nothing. */
export function sessionApplied(row: SessionRow, report: SessionChange): SessionRow | null {
  let next: SessionRow | null = null;
  const { connected, disconnected } = report;
  if (connected !== undefined && report.session > row.session) {
    next = {
      ...row,
      session: report.session,
      connected: 1,
      gateway: connected.gateway,
      worker: connected.worker,
      incarnation: connected.incarnation,
      address: connected.address,
      software: connected.software,
      caps_json: JSON.stringify(connected.caps),
      connected_at: report.at,
    };
  }
  const seen = next ?? row;
  // If an ended session is reported again, because its worker seemed lost, only the reason is filled in.
  const known = seen.session === report.session && seen.connected === 0 && seen.close_code !== null;
  if (disconnected !== undefined && report.session >= seen.session && !known) {
    next = {
      ...seen,
      session: report.session,
      connected: 0,
      disconnected_at: report.at,
      close_code: disconnected.code,
      close_reason: disconnected.reason,
    };
  }
  return next;
}
