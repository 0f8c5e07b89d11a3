/** Thousands of devices in a few processes, and where each of them says it is. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { GatewayAddress } from '../../protocol/index.ts';
import { waitFor } from '../wait.ts';
import type { FromFleet, News, Order, Runs } from './fleet-messages.ts';

const PROCESSES = 2;
const ORDER_LIMIT_MS = 120_000;
const ENTRY = fileURLToPath(new URL('./fleet-process.js', import.meta.url));

/** One arrival of a device. `port` is that of the address it dialed. */
export interface Arrival {
  at: number;
  gateway: string;
  port: number;
}

export interface FleetMember {
  readonly id: string;
  readonly group: string;
  readonly process: FleetProcess;
  /** Told to run. */
  started: boolean;
  /** Where it is connected. */
  where: Arrival | null;
  /** All of its arrivals, in order. */
  readonly arrivals: Arrival[];
  /** How its connections and attempts ended, the newest last: for people. */
  readonly endings: string[];
}

const ENDINGS_KEPT = 20;

export class Fleet {
  readonly members = new Map<string, FleetMember>();
  /** Most devices that were on a gateway at the same time, by the devices' own word. */
  readonly peaks = new Map<string, number>();
  /** Is shown every arrival, as it becomes known. */
  onArrival: (member: FleetMember, arrival: Arrival) => void = () => {};
  readonly #counts = new Map<string, number>();
  readonly #processes: FleetProcess[];
  #made = 0;

  constructor() {
    this.#processes = Array.from({ length: PROCESSES }, () => new FleetProcess((news) => this.#hear(news)));
  }

  get started(): FleetMember[] {
    return [...this.members.values()].filter((member) => member.started);
  }

  get connected(): FleetMember[] {
    return [...this.members.values()].filter((member) => member.where !== null);
  }

  on(gateway: string): FleetMember[] {
    return this.connected.filter(({ where }) => where?.gateway === gateway);
  }

  count(gateway: string): number {
    return this.#counts.get(gateway) ?? 0;
  }

  /** Enrols devices of one group, an equal part in each process. They are not started. */
  async enrol(count: number, group: string, server: string, token: string): Promise<FleetMember[]> {
    const names = Array.from({ length: count }, () => `device-${++this.#made}`);
    const parts = await Promise.all(
      this.#processes.map(async (process, n) => {
        const own = names.filter((_, index) => index % PROCESSES === n);
        const ids = await process.ask<string[]>({ do: 'enrol', server, token, names: own });
        return ids.map(
          (id): FleetMember => ({
            id,
            group,
            process,
            started: false,
            where: null,
            arrivals: [],
            endings: [],
          }),
        );
      }),
    );
    const members = parts.flat();
    for (const member of members) this.members.set(member.id, member);
    return members;
  }

  async start(
    members: readonly FleetMember[],
    options: { probing?: boolean; home?: GatewayAddress } = {},
  ): Promise<void> {
    for (const member of members) member.started = true;
    await this.#each(members, (ids) => ({ do: 'start', ids, options: { probing: false, ...options } }));
  }

  /** They leave in good order. */
  async stop(members: readonly FleetMember[]): Promise<void> {
    for (const member of members) member.started = false;
    await this.#each(members, (ids) => ({ do: 'stop', ids }));
    await waitFor(() => members.every(({ where }) => where === null), { what: 'devices to have stopped' });
  }

  /** What every device says it ran. */
  async runs(): Promise<Runs[]> {
    return (await Promise.all(this.#processes.map((process) => process.ask<Runs[]>({ do: 'runs' })))).flat();
  }

  /** The last endings of these devices, the most frequent first: for the message of what failed. */
  endingsOf(members: readonly FleetMember[]): string {
    const counts = new Map<string, number>();
    for (const { endings, where } of members) {
      const story = `${endings.slice(-4).join(' | ')} -> ${where ? `${where.gateway}:${where.port}` : 'nowhere'}`;
      counts.set(story, (counts.get(story) ?? 0) + 1);
    }
    const sorted = [...counts].sort(([, a], [, b]) => b - a).slice(0, 8);
    return sorted.map(([story, count]) => `\n    ${count} x ${story}`).join('');
  }

  lastWords(): string {
    return this.#processes.map(({ output }) => output).join('\n');
  }

  /** Ends the processes. Idempotent. */
  async close(): Promise<void> {
    await Promise.all(this.#processes.map((process) => process.close()));
  }

  async #each(members: readonly FleetMember[], order: (ids: string[]) => Order): Promise<void> {
    await Promise.all(
      this.#processes.map((process) => {
        const ids = members.filter((member) => member.process === process).map(({ id }) => id);
        return ids.length > 0 ? process.ask(order(ids)) : undefined;
      }),
    );
  }

  #hear(news: readonly News[]): void {
    for (const item of news) {
      const member = this.members.get(item.device);
      if (!member) continue;
      if (member.where) {
        this.#counts.set(member.where.gateway, this.count(member.where.gateway) - 1);
        member.where = null;
      }
      if ('connected' in item) this.#arrived(member, item);
      else {
        member.endings.push(`${item.ended} ${item.reason}`);
        if (member.endings.length > ENDINGS_KEPT) member.endings.shift();
      }
    }
  }

  #arrived(member: FleetMember, { at, connected }: Extract<News, { connected: unknown }>): void {
    const gateway = connected.name;
    const arrival = { at, gateway, port: Number(new URL(connected.url).port) };
    member.where = arrival;
    member.arrivals.push(arrival);
    const count = this.count(gateway) + 1;
    this.#counts.set(gateway, count);
    this.peaks.set(gateway, Math.max(count, this.peaks.get(gateway) ?? 0));
    this.onArrival(member, arrival);
  }
}

class FleetProcess {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  #nextId = 0;
  #output = '';
  #ended = false;

  constructor(onNews: (news: News[]) => void) {
    this.#child = fork(ENTRY, [], { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#output = (this.#output + text).slice(-4_000);
      });
    }
    this.#child.on('message', (message) => {
      const said = message as FromFleet;
      if ('news' in said) return onNews(said.news);
      const waiting = this.#waiting.get(said.id);
      if (said.error === undefined) waiting?.resolve(said.value);
      else waiting?.reject(new Error(said.error));
    });
    this.#child.once('exit', (code, signal) => {
      this.#ended = true;
      const error = new Error(`a fleet process ended (${signal ?? code}): ${this.#output}`);
      for (const { reject } of this.#waiting.values()) reject(error);
    });
  }

  get output(): string {
    return this.#output;
  }

  async ask<T>(order: Order): Promise<T> {
    if (this.#ended) throw new Error(`a fleet process has ended: ${this.#output}`);
    const id = ++this.#nextId;
    let timer: NodeJS.Timeout | undefined;
    try {
      return (await new Promise<unknown>((resolve, reject) => {
        this.#waiting.set(id, { resolve, reject });
        const late = () =>
          reject(new Error(`a fleet process did not ${order.do} within ${ORDER_LIMIT_MS} ms`));
        timer = setTimeout(late, ORDER_LIMIT_MS);
        this.#child.send({ id, order });
      })) as T;
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(id);
    }
  }

  async close(): Promise<void> {
    if (this.#ended) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await ended;
  }
}
