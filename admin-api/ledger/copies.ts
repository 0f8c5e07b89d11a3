/**
 * Finds copies of a device: two programs with one key. Sessions that end each other only raise the suspicion,
 * because gateways report them. The server then asks every session of the device, with a command `identify`,
 * which run of a program it is and how long it has been running. The answer is a result, which only holders
 * of the key can make. Two runs ran at the same time if both started before the first question and both
 * answered a question since: the device is cloned. A single device that moves between gateways or restarts
 * gives no such pair.
 */
import { DeviceLimit } from '../device-limit.ts';
import type { EventHub } from '../event-hub.ts';
import type { AdminMetrics } from '../metrics.ts';
import { RateLimit } from '../rate-limit.ts';
import { sortableId } from '../sortable-id.ts';
import type { Command, Copies, Device } from '../store/records.ts';
import type { Advance, ExecutionKey, Store } from '../store/store.ts';

/** This many sessions that end each other within an hour are no accident, such as a program that froze. */
export const COPIES_AT_WORK = 2;
const IDENTIFY = 'identify';
/** Time for the answer, milliseconds. */
const ANSWER_MS = 60_000;
/** Clocks of devices may be fast by this much, milliseconds. */
const MARGIN_MS = 5_000;
/** At most this many addresses and runs are kept. */
const KEPT = 8;
const RUN_LENGTH = 64;

export interface Answer {
  run: string;
  upMs: number;
  gateway: string;
  /** When the question was asked. */
  askedAt: number;
}

/** The state of the search after this answer, which arrived at `now`. */
export function withAnswer(copies: Copies, { run, upMs, gateway, askedAt }: Answer, now: number): Copies {
  if (askedAt < copies.since) return copies;
  // This run may have started after the other one ended: the search starts over.
  if (now - upMs + MARGIN_MS >= copies.since) return { ...copies, since: now, runs: [] };
  if (copies.runs.some((known) => known.run === run)) return copies;
  return { ...copies, runs: [...copies.runs, { run, gateway, at: now }].slice(0, KEPT) };
}

export function areTwo({ runs }: Copies): boolean {
  return runs.length >= 2;
}

/** `null` if the data is no answer to `identify`: a program may send anything. */
function answerIn(data: unknown, askedAt: number): Answer | null {
  const { run, upMs, gateway } = (typeof data === 'object' && data !== null ? data : {}) as Partial<Answer>;
  if (typeof run !== 'string' || run === '' || run.length > RUN_LENGTH) return null;
  if (typeof upMs !== 'number' || !Number.isSafeInteger(upMs) || upMs < 0) return null;
  return { run, upMs, gateway: typeof gateway === 'string' ? gateway.slice(0, RUN_LENGTH) : '', askedAt };
}

export interface CopyWatchParts {
  hub: Pick<EventHub, 'notify'>;
  metrics: AdminMetrics;
  cloned: { add(device: string): void };
}

/** Most questions to one device per minute and to all per second: any gateway can report ended sessions. */
const QUESTIONS_PER_MINUTE = 10;
const QUESTIONS_PER_SECOND = 50;

export class CopyWatch {
  readonly #parts: CopyWatchParts;
  readonly #limit = new DeviceLimit(QUESTIONS_PER_MINUTE, 60_000);
  readonly #rate = new RateLimit(QUESTIONS_PER_SECOND, () => performance.now());

  constructor(parts: CopyWatchParts) {
    this.#parts = parts;
  }

  /**
   * Asks devices whose sessions end each other and that are not known as cloned, within the limits. The
   * dispatcher sends the question when the device connects.
   */
  async ask(tx: Store, displaced: readonly Device[], at: number): Promise<void> {
    for (const { id, displacedCount, clonedAt, address, caps, copies } of displaced) {
      if (displacedCount < COPIES_AT_WORK || clonedAt !== null) continue;
      const known = copies?.addresses ?? [];
      const addresses = [...new Set([...(address === null ? [] : [address]), ...known])].slice(0, KEPT);
      await tx.devices.setCopies(id, { since: at, runs: [], ...copies, addresses }, null);
      if (caps.includes(IDENTIFY) && this.#mayAsk(id)) await identify(tx, id, at);
    }
  }

  #mayAsk(device: string): boolean {
    return this.#limit.take(device) === 0 && this.#rate.take();
  }

  /** Takes the answers of devices. `ended`: executions that a result ended now. */
  async heard(
    tx: Store,
    commands: readonly Command[],
    advances: readonly Advance[],
    ended: readonly ExecutionKey[],
    now: number,
  ): Promise<void> {
    const questions = new Map(
      commands.filter(({ type }) => type === IDENTIFY).map(({ id, issuedAt }) => [id, issuedAt]),
    );
    if (questions.size === 0) return;
    const fresh = new Set(ended.map(({ command, device }) => `${command} ${device}`));
    for (const { command, device, state, data } of advances) {
      const askedAt = questions.get(command);
      if (askedAt === undefined || state !== 'succeeded' || !fresh.has(`${command} ${device}`)) continue;
      const answer = answerIn(data, askedAt);
      if (answer) await this.#answered(tx, device, answer, now);
    }
  }

  async #answered(tx: Store, id: string, answer: Answer, now: number): Promise<void> {
    const device = await tx.devices.getForChange(id);
    if (!device?.copies || device.clonedAt !== null) return;
    const copies = withAnswer(device.copies, answer, now);
    if (copies === device.copies) return;
    const cloned = areTwo(copies);
    await tx.devices.setCopies(id, copies, cloned ? now : null);
    if (!cloned) return;
    const { name } = device;
    const gateways = copies.runs.map(({ gateway }) => gateway);
    const detail = { name, gateways, addresses: copies.addresses };
    const action = 'device.cloned';
    await tx.audit.append({ at: now, actor: 'system', action, subject: id, detail });
    await tx.events.append([{ at: now, type: action, data: { id, name, gateways } }]);
    this.#parts.metrics.cloned.inc();
    this.#parts.cloned.add(id);
    this.#parts.hub.notify();
  }
}

async function identify(tx: Store, device: string, at: number): Promise<void> {
  const id = sortableId('c', at);
  await tx.commands.create({
    ...{ id, type: IDENTIFY, args: null, target: { devices: [device] }, offline: 'skip', collapseKey: null },
    ...{ issuedAt: at, expiresAt: at + ANSWER_MS, timeoutMs: ANSWER_MS, createdBy: 'system' },
  });
  await tx.commands.expand(id, 1, at);
  await tx.events.append([{ at, type: 'command.created', data: { id, type: IDENTIFY } }]);
}
