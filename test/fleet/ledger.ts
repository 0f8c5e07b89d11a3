/**
 * Every command that was answered 202 and the devices it was for; and the judgement of what became of them.
 */
import { randomUUID } from 'node:crypto';
import type { ApiClient } from '../../cli/api/api-client.ts';
import type { CommandView } from '../../cli/api/views.ts';
import { forEachAtOnce } from '../../cli/for-each-at-once.ts';
import type { CommandType } from '../../protocol/command-types.ts';
import { type FinalState, isFinal } from '../../protocol/index.ts';
import { waitFor } from '../wait.ts';
import { falseEnds } from './false-ends.ts';
import type { Fleet } from './fleet.ts';
import type { Runs } from './fleet-messages.ts';
import type { ExecutionView, Given } from './given.ts';
import { outOfOrder } from './order.ts';
import { trueTime } from './true-time.ts';

const ALL = 1_000_000;
const SHOWN = 15;
/** Longer than any clock here steps. */
const USUAL_TIMEOUT_S = 3 * 3_600;
const FINISH_LIMIT_MS = 60_000;
/** Types whose handlers in `fleet-device.ts` are declared safe to repeat. */
const SAFE_TO_REPEAT: readonly CommandType[] = ['sync'];

/** Devices by id, or a group with the devices in it. */
export type Target = readonly string[] | { group: string; devices: readonly string[] };

export interface SendOptions {
  /** Supersedes undelivered ones with the same key; none when absent. */
  collapseKey?: string;
  /** Final states besides `succeeded` that are as good here. */
  may?: readonly FinalState[];
  /**
   * Deliver by, and finish by, seconds; the server's own, and longer than any clock of the fault matrix
   * steps, when absent.
   */
  ttl?: number;
  timeout?: number;
  /** Given up for devices that are not connected. */
  skip?: boolean;
}

export type Fault = 'lost' | 'duplicated' | 'nonFinal' | 'outOfOrder' | 'falseEnds';

export interface Totals extends Record<Fault, number> {
  executions: number;
}

export interface Judgement {
  /** Each with the ids it is about; empty when everything is as it should be. */
  problems: string[];
  given: readonly Given[];
  /** What the API told of each command, by command id. */
  rows: ReadonlyMap<string, readonly ExecutionView[]>;
}

/** What the ledger needs of a client; one that goes on asking where `ApiClient` gives up fits as well. */
export type Requests = Pick<ApiClient, 'get' | 'list' | 'request'>;

export class Ledger {
  readonly totals: Totals = {
    ...{ executions: 0, lost: 0, duplicated: 0, nonFinal: 0, outOfOrder: 0, falseEnds: 0 },
  };
  /** Ids of everything that was ever given. */
  readonly known = new Set<string>();
  readonly #api: Requests;
  readonly #fleet: Fleet;
  #given: Given[] = [];

  constructor(api: Requests, fleet: Fleet) {
    this.#api = api;
    this.#fleet = fleet;
  }

  async send(type: CommandType, target: Target, options: SendOptions = {}): Promise<Given> {
    const { collapseKey = null, may = [], ttl, timeout = USUAL_TIMEOUT_S, skip = false } = options;
    const askedAt = trueTime();
    const isGroup = 'group' in target;
    const args = type.startsWith('task.') ? { task: 'backup' } : type === 'message' ? { topic: 'test' } : {};
    const { id } = await this.#api.request<CommandView>('POST', '/v1/commands', {
      body: {
        type,
        args,
        target: isGroup ? { group: target.group } : { devices: target },
        ...{ collapseKey, timeout, offline: skip ? 'skip' : 'queue' },
        ...(ttl !== undefined && { ttl }),
      },
      headers: { 'idempotency-key': randomUUID() },
    });
    const devices = isGroup ? target.devices : target;
    const times = { askedAt, ttlMs: ttl === undefined ? null : ttl * 1_000, timeoutMs: timeout * 1_000 };
    const given: Given = { id, type, devices, may, collapseKey, skip, ...times };
    this.#given.push(given);
    this.known.add(id);
    return given;
  }

  async counts(id: string): Promise<CommandView['counts']> {
    return (await this.#api.get<CommandView>(`/v1/commands/${id}`)).counts;
  }

  /** Judges, and rejects when something is not as it should be, saying by id what differs. */
  async reconcile(): Promise<void> {
    const { problems } = await this.judge();
    if (problems.length > 0) throw new Error(`ledger and devices differ:${listed(problems)}`);
  }

  /**
   * Waits until everything that was given since the last time has ended, and compares what the API tells with
   * the devices' own lists. Adds to the totals.
   */
  async judge({
    ordered = false,
    finishLimitMs = FINISH_LIMIT_MS,
    misdated = false,
  } = {}): Promise<Judgement> {
    const given = this.#given;
    this.#given = [];
    const problems = await this.#unfinished(given, finishLimitMs);
    const runs = groupedBy(await this.#fleet.runs(), 'command');
    const rows = new Map<string, ExecutionView[]>();
    await forEachAtOnce(given, 16, async (each) => {
      const { items } = await this.#api.list<ExecutionView>(`/v1/commands/${each.id}/executions`, {}, ALL);
      rows.set(each.id, items);
      problems.push(...this.#judge(each, items, runs.get(each.id) ?? []));
    });
    const wrongly = falseEnds(given, rows, runs, misdated);
    this.totals.falseEnds += wrongly.length;
    problems.push(...wrongly);
    if (ordered) {
      const wrong = outOfOrder(given, rows, runs);
      this.totals.outOfOrder += wrong.length;
      problems.push(...wrong);
    }
    return { problems, given, rows };
  }

  async #unfinished(given: readonly Given[], limitMs: number): Promise<string[]> {
    const ours = new Set(given.map(({ id }) => id));
    let open: string[] = [];
    const look = async () => {
      const { items } = await this.#api.list<CommandView>('/v1/commands', { state: 'open' }, ALL);
      open = items.map(({ id }) => id).filter((id) => ours.has(id));
      return open.length === 0;
    };
    try {
      await waitFor(look, { timeoutMs: limitMs, intervalMs: 200, what: 'all commands to end' });
      return [];
    } catch {
      return open.map((id) => `${id}: still open long after`);
    }
  }

  #judge(given: Given, items: readonly ExecutionView[], runs: readonly Runs[]): string[] {
    const { totals } = this;
    const { id, type, devices, may } = given;
    const problems: string[] = [];
    const rows = new Map(items.map((row) => [row.deviceId, row]));
    const ran = groupedBy(runs, 'device');
    const meant = new Set(devices);
    const note = (kind: Fault, device: string, text: string) => {
      totals[kind]++;
      const row = rows.get(device);
      const story = row
        ? ` [${row.state} ${row.reason ?? ''}, attempts ${row.attempts}, sent ${row.sentAt}, acked ` +
          `${row.ackedAt}, finished ${row.finishedAt}; device ${JSON.stringify(ran.get(device) ?? [])}]`
        : '';
      problems.push(`${kind}: ${type} ${id} on ${device}: ${text}${story}`);
    };
    totals.executions += devices.length;
    if (rows.size !== items.length) note('duplicated', '?', 'a device has more than one execution');
    for (const device of devices) {
      const row = rows.get(device);
      const own = ran.get(device) ?? [];
      const completed = own.reduce((sum, each) => sum + each.completed, 0);
      const cutShort = own.reduce((sum, each) => sum + each.cutShort, 0);
      for (const each of own) {
        const allowed = 1 + (SAFE_TO_REPEAT.includes(type) ? each.cutShort : 0);
        if (each.started > allowed || each.completed > 1)
          note('duplicated', device, `begun ${each.started} times`);
      }
      if (!row) note('lost', device, 'not in the ledger');
      else if (!isFinal(row.state)) note('nonFinal', device, `still ${row.state}`);
      else if (row.state === 'succeeded') {
        if (completed === 0) note('lost', device, 'recorded as succeeded, never run');
      } else if (row.state === 'failed' && row.reason === 'interrupted') {
        // A kill may come after the device noted that it begins and before its handler began, or after its
        // handler ended and before it noted the result.
        const until = Date.parse(row.finishedAt ?? '') || Number.POSITIVE_INFINITY;
        if (cutShort === 0 && !this.#fleet.killedBetween(device, given.askedAt, until)) {
          note('lost', device, 'recorded as interrupted, and was not');
        }
      } else if (!may.includes(row.state)) note('lost', device, row.state);
      else if (completed > 0 && row.ackedAt === null && !row.late) {
        note('lost', device, `recorded as ${row.state} without a word from the device, which ran it`);
      }
    }
    for (const device of new Set([...rows.keys(), ...ran.keys()])) {
      if (!meant.has(device)) note('duplicated', device, 'was not meant for it');
    }
    return problems;
  }
}

function groupedBy(runs: readonly Runs[], key: 'command' | 'device'): Map<string, Runs[]> {
  const groups = new Map<string, Runs[]>();
  for (const each of runs) {
    const group = groups.get(each[key]);
    if (group) group.push(each);
    else groups.set(each[key], [each]);
  }
  return groups;
}

/** The first of them, a line each. */
export function listed(problems: readonly string[]): string {
  const more = problems.length > SHOWN ? [`and ${problems.length - SHOWN} more`] : [];
  return [...problems.slice(0, SHOWN), ...more].map((line) => `\n  ${line}`).join('');
}
