import {
  type Edition,
  type ExecutionState,
  isFinal,
  type MeasuredGateway,
  NO_EDITION,
} from '../../protocol/index.ts';
import type { LedgerReceipt, ReportedStatus } from '../ledger-receipt.ts';
import { ByExecution } from '../store/by-execution.ts';
import type { Advance, ExecutionKey, SessionChange, StatusReport } from '../store/store.ts';
import type { TunnelReceipt } from '../tunnels/tunnel-reports.ts';
import { isLong } from './recordable.ts';
import type { Want } from './wanted-keys.ts';

/** The changes of one batch of receipts: one row per device and per execution. */
export interface ReducedReceipts {
  sessions: SessionChange[];
  /** Commands sent to these devices in sessions up to the named one may not have arrived. */
  endedSessions: { device: string; session: number }[];
  connected: { device: string; session: number; membership: Edition; key?: number }[];
  /** What devices said about themselves when they connected, from the newest session that said it. */
  introductions: { device: string; name?: string; displaced?: true }[];
  statuses: StatusReport[];
  measures: { device: string; measured: MeasuredGateway[] }[];
  /** `finishBy` is still unknown here: it needs the command's time limit. */
  advances: Advance[];
  /** By incarnation. */
  undelivered: Map<string, ExecutionKey[]>;
  lostOutboxes: string[];
  /** Group keys that devices ask for, each once. */
  wants: Want[];
  /** In the order of arrival; of consecutive counters only the last. */
  tunnels: TunnelReceipt[];
}

const RANK: Record<ExecutionState, number> = {
  queued: 0,
  sent: 1,
  acked: 2,
  running: 3,
  succeeded: 4,
  failed: 4,
  rejected: 4,
  canceled: 4,
  expired: 4,
  'timed-out': 4,
  superseded: 4,
};

const DAY = 86_400_000;

/**
 * Reduces receipts that arrived by `now`. Their times come from the clock that all programs share; a time in
 * the future, or more than a day ago, cannot be right and counts as now.
 */
export function reduceReceipts(batch: readonly LedgerReceipt[], now: number): ReducedReceipts {
  const sessions = new Map<string, SessionChange>();
  const ended = new Map<string, number>();
  const shown = new Map<string, { membership: Edition; key?: number }>();
  const introductions = new Map<string, { device: string; name?: string; displaced?: true }>();
  const statuses = new Map<string, StatusReport>();
  const measures = new Map<string, MeasuredGateway[]>();
  const advances = new ByExecution<Advance>();
  const undelivered = new Map<string, ExecutionKey[]>();
  const lostOutboxes = new Set<string>();
  const wants = new Map<string, Want>();
  const tunnels: TunnelReceipt[] = [];
  const counters = new Map<string, number>();

  const sessionOf = (device: string, session: number, at: number): SessionChange | null => {
    const known = sessions.get(device);
    if (known && known.session > session) return null;
    if (known && known.session === session) return known;
    const fresh: SessionChange = { device, session, at };
    sessions.set(device, fresh);
    return fresh;
  };

  for (const receipt of batch) {
    const at = receipt.at <= now && receipt.at > now - DAY ? receipt.at : now;
    switch (receipt.kind) {
      case 'connected': {
        const { device, session } = receipt;
        ended.set(device, Math.max(ended.get(device) ?? 0, session - 1));
        const change = sessionOf(device, session, at);
        if (!change) break;
        const { membership, key } = receipt;
        shown.set(device, { membership, ...(key !== undefined && { key }) });
        if (receipt.name !== undefined || receipt.displaced) {
          const { name, displaced } = receipt;
          introductions.set(device, {
            device,
            ...(name !== undefined && { name }),
            ...(displaced && { displaced }),
          });
        }
        change.connected = {
          incarnation: receipt.incarnation,
          worker: receipt.worker,
          gateway: receipt.gateway,
          address: receipt.address,
          software: receipt.software,
          caps: receipt.caps,
        };
        break;
      }
      case 'disconnected': {
        const { device, session, code, reason } = receipt;
        ended.set(device, Math.max(ended.get(device) ?? 0, session));
        const change = sessionOf(device, session, at);
        if (change) {
          change.disconnected = { code, reason };
          change.at = at;
        }
        break;
      }
      case 'measured':
        measures.set(receipt.device, receipt.measured);
        break;
      case 'status':
        statuses.set(receipt.device, newerStatus(statuses.get(receipt.device), receipt));
        break;
      case 'ack':
      case 'progress':
      case 'result': {
        advances.set(receipt, further(advances.get(receipt), advanceOf(receipt, at)));
        break;
      }
      case 'undelivered': {
        const rows = undelivered.get(receipt.incarnation) ?? [];
        undelivered.set(receipt.incarnation, rows);
        for (const device of receipt.devices) rows.push({ command: receipt.command, device });
        break;
      }
      case 'want': {
        const { device, group, epoch, number } = receipt;
        wants.set(`${device} ${group} ${epoch} ${number}`, { device, group, epoch, number });
        break;
      }
      case 'outbox-lost':
        lostOutboxes.add(receipt.incarnation);
        break;
      case 'tunnel': {
        const key = `${receipt.tunnel} ${receipt.incarnation}`;
        const before = receipt.event === 'counters' ? counters.get(key) : undefined;
        if (before === undefined) tunnels.push(receipt);
        else tunnels[before] = receipt;
        if (receipt.event === 'counters') counters.set(key, before ?? tunnels.length - 1);
        else counters.delete(key);
        break;
      }
    }
  }

  return {
    sessions: [...sessions.values()],
    endedSessions: [...ended].map(([device, session]) => ({ device, session })),
    connected: [...sessions.values()]
      .filter((change) => change.connected && !change.disconnected)
      .map(({ device, session }) => ({ device, session, membership: NO_EDITION, ...shown.get(device) })),
    introductions: [...introductions.values()],
    statuses: [...statuses.values()],
    measures: [...measures].map(([device, measured]) => ({ device, measured })),
    advances: advances.values(),
    undelivered,
    lostOutboxes: [...lostOutboxes],
    wants: [...wants.values()],
    tunnels,
  };
}

/** A status keeps its number: a replayed one does not look new (B-5). */
function newerStatus(
  known: StatusReport | undefined,
  { device, number, policy, compliance }: ReportedStatus,
): StatusReport {
  const next: StatusReport = {
    ...{ device, number },
    ...(policy !== undefined && { policy }),
    ...(compliance !== undefined && { compliance }),
  };
  if (!known) return next;
  return next.number > known.number ? { ...known, ...next } : { ...next, ...known };
}

function advanceOf(
  receipt: Extract<LedgerReceipt, { kind: 'ack' | 'progress' | 'result' }>,
  at: number,
): Advance {
  const advance: Advance = {
    command: receipt.command,
    device: receipt.device,
    state: 'acked',
    ackedAt: at,
    startedAt: null,
    finishedAt: null,
    finishBy: null,
    percent: null,
    note: null,
    reason: null,
  };
  if (receipt.kind === 'progress') {
    advance.state = 'running';
    advance.startedAt = at;
    advance.percent = receipt.percent ?? null;
    advance.note = receipt.note ?? null;
  } else if (receipt.kind === 'result') {
    advance.state = receipt.state;
    advance.finishedAt = at;
    advance.reason = receipt.reason ?? null;
    advance.worker = receipt.worker;
    const data = receipt.secret ?? receipt.data;
    if (data !== undefined) advance.data = data;
    if (receipt.secret !== undefined) advance.secret = true;
    if (isLong(data)) advance.longData = true;
  }
  return advance;
}

/**
 * Receipts of one execution come in any order, and more than once. The furthest state wins; of two final
 * states, the first.
 */
function further(known: Advance | undefined, next: Advance): Advance {
  if (!known) return next;
  const ahead = RANK[next.state] > RANK[known.state] || (next.state === known.state && !isFinal(next.state));
  const [front, back] = ahead ? [next, known] : [known, next];
  return {
    ...front,
    ackedAt: Math.min(known.ackedAt ?? Number.POSITIVE_INFINITY, next.ackedAt ?? Number.POSITIVE_INFINITY),
    startedAt: known.startedAt ?? next.startedAt,
    percent: front.percent ?? back.percent,
    note: front.note ?? back.note,
    // The device's last worker.
    ...(front.worker !== undefined && { worker: next.worker ?? front.worker }),
  };
}
