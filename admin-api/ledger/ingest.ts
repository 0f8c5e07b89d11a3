import { setTimeout as pause } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Counter } from 'prom-client';
import { type Bus, BusUnavailable, type Receipt } from '../../bus/bus.ts';
import { keyMark } from '../../bus/key-mark.ts';
import { CLOSE, type CloseCode, isFinal, isNewer } from '../../protocol/index.ts';
import { nearText } from '../balance/nearness.ts';
import type { BestEffortSender } from '../best-effort-sender.ts';
import type { DirectoryProjector } from '../directory/projector.ts';
import type { CommandFrames } from '../dispatch/command-frames.ts';
import type { Dispatcher } from '../dispatch/dispatcher.ts';
import type { Expander } from '../dispatch/expander.ts';
import type { EventHub } from '../event-hub.ts';
import { type Canaries, withoutCanaries } from '../health/canaries.ts';
import type { StoreWatch } from '../health/store-watch.ts';
import type { LedgerReceipt } from '../ledger-receipt.ts';
import type { AdminMetrics } from '../metrics.ts';
import { finishCommandsAlong, type Outcomes, recordChanges, recordRequeued } from '../outcomes.ts';
import type { LedgerSecrets } from '../secrets/ledger-secrets.ts';
import { type Advance, type ExecutionKey, type Store, StoreUnavailable } from '../store/store.ts';
import type { AppliedTunnels, TunnelIngest } from '../tunnels/tunnel-ingest.ts';
import { checkReceipts } from './check-receipts.ts';
import { Confirmations, type Reported } from './confirmations.ts';
import type { CopyWatch } from './copies.ts';
import { hideSecrets } from './hide-secrets.ts';
import { recordIntroductions } from './introductions.ts';
import type { OwnDevices } from './own-devices.ts';
import { probeReceipts } from './probe-receipts.ts';
import type { PutAside } from './put-aside.ts';
import { type ReducedReceipts, reduceReceipts } from './reduce-receipts.ts';
import type { ReportVerifier } from './report-verifier.ts';
import type { WantedKeys } from './wanted-keys.ts';

/**
 * SQLite writes each page that a batch touched, and a batch of a large fleet touches nearly all: fewer
 * batches write less.
 */
const MAX_BATCH = 5000;
/**
 * Another server takes over the unapplied batches of a killed one after this long: applying twice is safe.
 */
const TAKE_OVER_AFTER_MS = 10_000;
/** Undelivered executions are tried again after this long, so that stale presence causes little traffic. */
const UNDELIVERED_RETRY_MS = 1000;
const REQUEUE_CHUNK = 5000;
const START_PATIENCE_MS = 30_000;
const START_RETRY_MS = 250;
/** A single receipt is tried this often before it is put aside. */
const ATTEMPTS = 3;

interface Applied {
  requeued: Set<string>;
  progressed: Set<string>;
  /** Commands of which an execution ended: they may be finished. */
  ended: Set<string>;
  /** Reports that devices get an answer to. */
  reported: Reported[];
  /** Still running although the command was canceled: the device may not have received the cancel. */
  toCancel: ExecutionKey[];
  tunnels: AppliedTunnels;
}

/**
 * The way up: consumes receipts, applies each batch to the store in one transaction, and only then lets the
 * bus drop it. Wakes and confirmations follow the commit, so they may be lost with the process.
 * OverdueExecutions, the device, or the device's next connect repeats them.
 */
export class Ingest {
  readonly #store: Store;
  readonly #bus: Bus;
  readonly #dispatcher: Dispatcher;
  readonly #expander: Expander;
  readonly #sender: BestEffortSender;
  readonly #confirmations: Confirmations;
  readonly #directory: DirectoryProjector;
  readonly #tunnels: TunnelIngest;
  readonly #outcomes: Outcomes;
  readonly #hub: EventHub;
  readonly #metrics: AdminMetrics;
  readonly #log: Logger;
  readonly #now: () => number;
  readonly #watch: StoreWatch;
  readonly #canaries: Canaries;
  readonly #aside: PutAside;
  readonly #ownDevices: OwnDevices;
  readonly #reportVerifier: ReportVerifier;
  readonly #copies: CopyWatch;
  readonly #ledgerSecrets: LedgerSecrets;
  readonly #wantedKeys: WantedKeys;
  #rounds = 0;
  #stopping = false;
  #applying = 0;
  #stopConsuming: (() => Promise<void>) | undefined;
  #following: Promise<void> = Promise.resolve();

  constructor(parts: {
    store: Store;
    bus: Bus;
    dispatcher: Dispatcher;
    expander: Expander;
    sender: BestEffortSender;
    frames: CommandFrames;
    directory: DirectoryProjector;
    tunnels: TunnelIngest;
    outcomes: Outcomes;
    hub: EventHub;
    metrics: AdminMetrics;
    log: Logger;
    now: () => number;
    watch: StoreWatch;
    canaries: Canaries;
    aside: PutAside;
    ownDevices: OwnDevices;
    reportVerifier: ReportVerifier;
    copies: CopyWatch;
    ledgerSecrets: LedgerSecrets;
    wantedKeys: WantedKeys;
  }) {
    this.#store = parts.store;
    this.#bus = parts.bus;
    this.#dispatcher = parts.dispatcher;
    this.#expander = parts.expander;
    this.#sender = parts.sender;
    this.#confirmations = new Confirmations(parts);
    this.#directory = parts.directory;
    this.#tunnels = parts.tunnels;
    this.#outcomes = parts.outcomes;
    this.#hub = parts.hub;
    this.#metrics = parts.metrics;
    this.#log = parts.log;
    this.#now = parts.now;
    this.#watch = parts.watch;
    this.#canaries = parts.canaries;
    this.#aside = parts.aside;
    this.#ownDevices = parts.ownDevices;
    this.#reportVerifier = parts.reportVerifier;
    this.#copies = parts.copies;
    this.#ledgerSecrets = parts.ledgerSecrets;
    this.#wantedKeys = parts.wantedKeys;
  }

  /** Batches tried so far, applied or not. */
  get rounds(): number {
    return this.#rounds;
  }

  get idle(): boolean {
    return this.#applying === 0;
  }

  /** Waits for a bus that is away; rejects with `BusUnavailable` after `START_PATIENCE_MS`. */
  async start(consumer: string): Promise<void> {
    const giveUpAt = performance.now() + START_PATIENCE_MS;
    while (this.#stopConsuming === undefined) {
      try {
        this.#stopConsuming = await this.#bus.receipts.consume(consumer, (batch) => this.apply(batch), {
          maxBatch: MAX_BATCH,
          redeliverAfterMs: TAKE_OVER_AFTER_MS,
        });
      } catch (error) {
        if (!(error instanceof BusUnavailable) || performance.now() > giveUpAt) throw error;
        this.#log.warn({ err: error }, 'receipts cannot be read yet; trying again');
        await pause(START_RETRY_MS);
      }
    }
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#stopConsuming?.();
    this.#stopConsuming = undefined;
    await this.#following;
  }

  async apply(batch: readonly Receipt[]): Promise<void> {
    this.#applying++;
    try {
      await this.#expander.headStart();
      const checked = checkReceipts(batch);
      const own = await this.#ownDevices.sift(checked.receipts);
      const { receipts, wrong } = await this.#reportVerifier.open(own.receipts);
      await this.#applyOrSplit(receipts);
      // Last, so that a batch that comes again puts its receipts aside only once.
      await this.#aside.take([...checked.wrong, ...own.wrong, ...wrong]);
    } catch (error) {
      if (error instanceof StoreUnavailable) this.#watch.failed();
      throw error;
    } finally {
      this.#applying--;
      this.#rounds++;
    }
  }

  /**
   * Splits a batch that cannot be applied although bus and store are available, until the wrong receipt is
   * found and put aside.
   */
  async #applyOrSplit(batch: readonly LedgerReceipt[], attempts = 1): Promise<void> {
    try {
      await this.#apply(batch);
    } catch (error) {
      if (this.#stopping || error instanceof StoreUnavailable || error instanceof BusUnavailable) throw error;
      this.#log.warn(
        { err: error, receipts: batch.length, attempts },
        'a batch of receipts could not be applied; trying its parts',
      );
      const [only] = batch;
      if (batch.length > 1) {
        const half = Math.ceil(batch.length / 2);
        await this.#applyOrSplit(batch.slice(0, half));
        await this.#applyOrSplit(batch.slice(half));
      } else if (attempts < ATTEMPTS) {
        await pause(START_RETRY_MS);
        await this.#applyOrSplit(batch, attempts + 1);
      } else if (only) {
        await this.#assertWritable();
        await this.#aside.take([
          { receipt: only, why: error instanceof Error ? error.message : String(error) },
        ]);
      }
    }
  }

  /**
   * Rejects with `StoreUnavailable` if the store would refuse any receipt, for example because of a lost
   * right to a table or a damaged file: then nothing is wrong with this receipt.
   */
  async #assertWritable(): Promise<void> {
    const now = this.#now();
    try {
      const reduced = reduceReceipts(probeReceipts(now), now);
      await this.#store.transaction(async (tx) => {
        await this.#write(tx, reduced, now);
        await tx.events.append([{ at: now, type: 'devices', data: { connected: [], disconnected: [] } }]);
      });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new StoreUnavailable(`the store takes no receipts: ${reason}`, { cause: error });
    }
  }

  async #apply(batch: readonly LedgerReceipt[]): Promise<void> {
    const end = this.#metrics.applySeconds.startTimer();
    const { receipts, results } = withoutCanaries(batch);
    countEach(this.#metrics.receipts, 'kind', receipts);
    const now = this.#now();
    const reduced = reduceReceipts(receipts, now);
    await this.#tunnels.prepare(reduced.tunnels);
    const applied = await this.#store.transaction(async (tx) => {
      await this.#canaries.record(tx, results);
      return this.#write(tx, reduced, now);
    });
    end();
    // The next batch may be written while this one is followed up, but not the one after it.
    await this.#following;
    this.#following = this.#followUp(reduced, applied)
      .then(() => this.#canaries.confirm(results))
      .catch((error) =>
        this.#log.warn({ err: error }, 'the follow-up of a batch failed; it is repeated later'),
      );
  }

  async #write(tx: Store, reduced: ReducedReceipts, now: number): Promise<Applied> {
    const applied: Applied = {
      requeued: new Set(),
      progressed: new Set(),
      ended: new Set(),
      reported: [],
      toCancel: [],
      tunnels: await this.#tunnels.write(tx, reduced.tunnels, now),
    };
    await this.#writeSessions(tx, reduced, now);
    await this.#writeAdvances(tx, reduced.advances, applied, now);
    // After the advances, so that nothing acknowledged in a session's last moment is sent again.
    await this.#requeue(tx, reduced, applied, now);
    for (const id of await finishCommandsAlong(tx, [...applied.ended], now)) applied.ended.delete(id);
    return applied;
  }

  async #writeSessions(tx: Store, reduced: ReducedReceipts, now: number): Promise<void> {
    if (reduced.sessions.length > 0) {
      const { connected, disconnected } = await tx.devices.applySessions(reduced.sessions);
      if (connected.length > 0 || disconnected.length > 0) {
        await tx.events.append([{ at: now, type: 'devices', data: { connected, disconnected } }]);
      }
      // Only from sessions newer than the stored ones: a report that comes twice counts once.
      const newer = new Set(connected);
      const fresh = reduced.introductions.filter(({ device }) => newer.has(device));
      const displaced = await recordIntroductions(tx, fresh, now);
      if (displaced.length > 0) this.#metrics.displaced.inc(displaced.length);
      await this.#copies.ask(tx, displaced, now);
    }
    if (reduced.measures.length > 0) {
      const known = new Set((await tx.gateways.all()).map(({ name }) => name));
      const rows = reduced.measures.map((row) => ({ ...row, near: nearText(row.measured, known) }));
      await tx.devices.applyMeasures(rows);
    }
    if (reduced.statuses.length > 0) {
      const changed = await tx.devices.applyStatus(reduced.statuses);
      if (changed.length > 0) {
        const devices = new Set(changed);
        const rows = reduced.statuses
          .filter(({ device }) => devices.has(device))
          .map(({ number: _, ...row }) => row);
        await tx.events.append([{ at: now, type: 'device.status', data: { devices: rows } }]);
      }
    }
  }

  async #writeAdvances(tx: Store, advances: Advance[], applied: Applied, now: number): Promise<void> {
    if (advances.length === 0) return;
    const commands = await tx.commands.getMany([...new Set(advances.map((row) => row.command))]);
    const timeouts = new Map(commands.map((command) => [command.id, command.timeoutMs]));
    const canceled = new Set(
      commands.filter((command) => command.cancelRequestedAt !== null).map((command) => command.id),
    );
    for (const row of advances) {
      const timeoutMs = timeouts.get(row.command);
      // Counted from when the gateway had the acknowledgement, because receipts may have waited.
      if (timeoutMs !== undefined) row.finishBy = (row.ackedAt ?? now) + timeoutMs;
      if (!isFinal(row.state) && canceled.has(row.command)) applied.toCancel.push(row);
    }
    const reports = hideSecrets(advances, commands, this.#ledgerSecrets);
    const { changed, current, late } = await tx.executions.advance(reports);
    for (const { ended, state, inTime } of late) {
      this.#metrics.late.inc({ ended, late: state, in_time: inTime ? 'yes' : 'no' });
    }
    await recordChanges(tx, changed, now);
    await this.#copies.heard(tx, commands, advances, changed, now);
    for (const row of changed) {
      applied.progressed.add(row.device);
      if (isFinal(row.state)) applied.ended.add(row.command);
    }
    countEach(
      this.#metrics.finished,
      'state',
      changed.filter(({ state }) => isFinal(state)),
    );
    applied.tunnels.commandEnded ||= commands.some(
      ({ id, type }) => type === 'tunnel.open' && applied.ended.has(id),
    );
    const ofGroup = new Set(commands.filter(({ target }) => 'group' in target).map(({ id }) => id));
    for (const { report, state } of current) {
      const { command, device, state: said, worker } = report;
      applied.reported.push({ command, device, state, said, worker, ofGroup: ofGroup.has(command) });
    }
  }

  async #requeue(tx: Store, reduced: ReducedReceipts, applied: Applied, now: number): Promise<void> {
    const requeued: ExecutionKey[] = [];
    const undelivered: ExecutionKey[] = [];
    if (reduced.endedSessions.length > 0) {
      const rows = await tx.executions.requeueSessions(reduced.endedSessions);
      this.#metrics.requeued.inc({ why: 'session-ended' }, rows.length);
      requeued.push(...rows);
    }
    for (const incarnation of reduced.lostOutboxes) {
      for (;;) {
        const rows = await tx.executions.requeueIncarnation(incarnation, REQUEUE_CHUNK);
        this.#metrics.requeued.inc({ why: 'outbox-lost' }, rows.length);
        requeued.push(...rows);
        if (rows.length < REQUEUE_CHUNK) break;
      }
    }
    for (const [incarnation, keys] of reduced.undelivered) {
      const rows = await tx.executions.requeue(keys, incarnation);
      this.#metrics.requeued.inc({ why: 'undelivered' }, rows.length);
      undelivered.push(...rows);
    }
    const superseded = await recordRequeued(tx, [...requeued, ...undelivered], now);
    // `followUp` wakes devices that could not be reached a little later.
    for (const { device } of requeued) applied.requeued.add(device);
    for (const row of superseded) applied.ended.add(row.command);
  }

  async #followUp(reduced: ReducedReceipts, applied: Applied): Promise<void> {
    this.#hub.notify();
    this.#dispatcher.wake(applied.requeued);
    this.#dispatcher.wake(reduced.connected.map((row) => row.device));
    this.#dispatcher.progressed(applied.progressed);
    for (const keys of reduced.undelivered.values()) {
      this.#dispatcher.wakeLater([...new Set(keys.map((row) => row.device))], UNDELIVERED_RETRY_MS);
    }
    if (applied.ended.size > 0) await this.#outcomes.commandsMayBeDone(applied.ended);
    await this.#tunnels.followUp(applied.tunnels);
    await this.#confirmations.send(applied.reported, applied.toCancel);
    if (reduced.wants.length > 0) await this.#wantedKeys.answer(reduced.wants);
    if (reduced.connected.length > 0) await this.#checkConnected(reduced.connected);
  }

  /**
   * Checks connected devices against SQL. The directory may be older: after a crash between the two, or if
   * somebody wrote an old entry back. Sends away devices that SQL does not know or has blocked, and devices
   * that proved an earlier key. A device with an old membership gets the current one.
   */
  async #checkConnected(connected: ReducedReceipts['connected']): Promise<void> {
    const devices = await this.#store.devices.memberships(connected.map((row) => row.device));
    const known = new Map(devices.map((device) => [device.id, device]));
    const unknown: string[] = [];
    const blocked: string[] = [];
    const earlier: string[] = [];
    const memberships: { devices: string[]; frame: Uint8Array }[] = [];
    for (const { device: id, membership, key } of connected) {
      const device = known.get(id);
      if (!device) unknown.push(id);
      else if (device.blockedAt !== null) blocked.push(id);
      else if (key !== undefined && key !== keyMark(device.publicKey)) earlier.push(id);
      else if (isNewer(this.#directory.editionOf(device), membership)) {
        memberships.push({ devices: [id], frame: this.#directory.membershipFrame(device) });
      }
    }
    await this.#sender.send(memberships);
    const unwanted = [...unknown, ...blocked, ...earlier];
    if (unwanted.length > 0) {
      this.#directory.devicesChangedSoon(unwanted);
      const deleted = new Map((await this.#store.deletedDevices.ofIds(unknown)).map((one) => [one.id, one]));
      for (const id of unknown) {
        const one = deleted.get(id);
        const frame = one ? this.#directory.deletionFrame(one) : null;
        await this.#sender.dismiss(id, frame, CLOSE.unknownDevice, 'not enrolled here');
      }
      const dismiss = async (id: string, code: CloseCode, reason: string) => {
        const device = known.get(id);
        const frame = device ? this.#directory.membershipFrame(device) : null;
        await this.#sender.dismiss(id, frame, code, reason);
      };
      for (const id of blocked) await dismiss(id, CLOSE.blocked, 'blocked by an operator');
      for (const id of earlier) await dismiss(id, CLOSE.notReady, 'H-3: it proved an earlier key (K-6)');
    }
  }
}

/** Counting one by one costs as much as reading a receipt. */
function countEach<L extends string>(
  counter: Counter<L>,
  label: L,
  rows: readonly Readonly<Record<L, string>>[],
): void {
  const counts = new Map<string, number>();
  for (const row of rows) counts.set(row[label], (counts.get(row[label]) ?? 0) + 1);
  for (const [value, count] of counts) counter.inc({ [label]: value } as Record<L, string>, count);
}
