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
  const reduction = new Reduction();
  for (const receipt of batch) {
    const at = receipt.at <= now && receipt.at > now - DAY ? receipt.at : now;
    reduction.add(receipt, at);
  }
  return reduction.result();
}

type ReceiptOf<K extends LedgerReceipt['kind']> = Extract<LedgerReceipt, { kind: K }>;

class Reduction {
  readonly #sessions = new Map<string, SessionChange>();
  readonly #ended = new Map<string, number>();
  readonly #shown = new Map<string, { membership: Edition; key?: number }>();
  readonly #introductions = new Map<string, { device: string; name?: string; displaced?: true }>();
  readonly #statuses = new Map<string, StatusReport>();
  readonly #measures = new Map<string, MeasuredGateway[]>();
  readonly #advances = new ByExecution<Advance>();
  readonly #undelivered = new Map<string, ExecutionKey[]>();
  readonly #lostOutboxes = new Set<string>();
  readonly #wants = new Map<string, Want>();
  readonly #tunnels: TunnelReceipt[] = [];
  /** By tunnel and incarnation: where its last counters are in `#tunnels`. */
  readonly #counters = new Map<string, number>();

  /** `at`: when the gateway had it. */
  add(receipt: LedgerReceipt, at: number): void {
    switch (receipt.kind) {
      case 'connected':
        this.#connected(receipt, at);
        break;
      case 'disconnected':
        this.#disconnected(receipt, at);
        break;
      case 'measured':
        this.#measures.set(receipt.device, receipt.measured);
        break;
      case 'status':
        this.#statuses.set(receipt.device, newerStatus(this.#statuses.get(receipt.device), receipt));
        break;
      case 'ack':
      case 'progress':
      case 'result':
        this.#advances.set(receipt, further(this.#advances.get(receipt), advanceOf(receipt, at)));
        break;
      case 'undelivered':
        this.#notDelivered(receipt);
        break;
      case 'want': {
        const { device, group, epoch, number } = receipt;
        this.#wants.set(`${device} ${group} ${epoch} ${number}`, { device, group, epoch, number });
        break;
      }
      case 'outbox-lost':
        this.#lostOutboxes.add(receipt.incarnation);
        break;
      case 'tunnel':
        this.#tunnel(receipt);
        break;
    }
  }

  result(): ReducedReceipts {
    return {
      sessions: [...this.#sessions.values()],
      endedSessions: [...this.#ended].map(([device, session]) => ({ device, session })),
      connected: [...this.#sessions.values()]
        .filter((change) => change.connected && !change.disconnected)
        .map(({ device, session }) => ({
          ...{ device, session, membership: NO_EDITION },
          ...this.#shown.get(device),
        })),
      introductions: [...this.#introductions.values()],
      statuses: [...this.#statuses.values()],
      measures: [...this.#measures].map(([device, measured]) => ({ device, measured })),
      advances: this.#advances.values(),
      undelivered: this.#undelivered,
      lostOutboxes: [...this.#lostOutboxes],
      wants: [...this.#wants.values()],
      tunnels: this.#tunnels,
    };
  }

  /** The change of this session; `null` if a newer one is known. */
  #sessionOf(device: string, session: number, at: number): SessionChange | null {
    const known = this.#sessions.get(device);
    if (known && known.session > session) return null;
    if (known && known.session === session) return known;
    const fresh: SessionChange = { device, session, at };
    this.#sessions.set(device, fresh);
    return fresh;
  }

  #endedUpTo(device: string, session: number): void {
    this.#ended.set(device, Math.max(this.#ended.get(device) ?? 0, session));
  }

  #connected(receipt: ReceiptOf<'connected'>, at: number): void {
    const { device, session, membership, key, name, displaced } = receipt;
    this.#endedUpTo(device, session - 1);
    const change = this.#sessionOf(device, session, at);
    if (!change) return;
    this.#shown.set(device, { membership, ...(key !== undefined && { key }) });
    if (name !== undefined || displaced) {
      this.#introductions.set(device, {
        device,
        ...(name !== undefined && { name }),
        ...(displaced && { displaced }),
      });
    }
    const { incarnation, worker, gateway, address, software, caps } = receipt;
    change.connected = { incarnation, worker, gateway, address, software, caps };
  }

  #disconnected({ device, session, code, reason }: ReceiptOf<'disconnected'>, at: number): void {
    this.#endedUpTo(device, session);
    const change = this.#sessionOf(device, session, at);
    if (!change) return;
    change.disconnected = { code, reason };
    change.at = at;
  }

  #notDelivered({ incarnation, command, devices }: ReceiptOf<'undelivered'>): void {
    const rows = this.#undelivered.get(incarnation) ?? [];
    this.#undelivered.set(incarnation, rows);
    for (const device of devices) rows.push({ command, device });
  }

  #tunnel(receipt: ReceiptOf<'tunnel'>): void {
    const key = `${receipt.tunnel} ${receipt.incarnation}`;
    const isCounters = receipt.event === 'counters';
    const before = isCounters ? this.#counters.get(key) : undefined;
    if (before === undefined) this.#tunnels.push(receipt);
    else this.#tunnels[before] = receipt;
    if (isCounters) this.#counters.set(key, before ?? this.#tunnels.length - 1);
    else this.#counters.delete(key);
  }
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
