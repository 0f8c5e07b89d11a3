/** Thousands of devices in a few processes, and where each of them says it is. */
import type { GatewayAddress } from '../../protocol/index.ts';
import { waitFor } from '../wait.ts';
import type { News, Order, Runs } from './fleet-messages.ts';
import { FleetProcess, type FleetProcessOptions } from './fleet-program.ts';
import { trueTime } from './true-time.ts';

/** One arrival of a device. `port` is that of the address it dialed. */
export interface Arrival {
  at: number;
  gateway: string;
  port: number;
}

export interface FleetMember {
  readonly id: string;
  readonly name: string;
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
  readonly #kills: { process: FleetProcess; at: number }[] = [];
  readonly #processes: FleetProcess[];
  #made = 0;

  constructor(processes: readonly FleetProcessOptions[] = [{}, {}]) {
    this.#processes = processes.map((options) => new FleetProcess(options, (news) => this.#hear(news)));
  }

  get processes(): readonly FleetProcess[] {
    return this.#processes;
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
        const own = names.filter((_, index) => index % this.#processes.length === n);
        const ids = await process.ask<string[]>({ do: 'enrol', server, token, names: own });
        return ids.map(
          (id, index): FleetMember => ({
            id,
            name: own[index] ?? '',
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

  /** They vanish without a word, in the middle of what they do. */
  async crash(members: readonly FleetMember[]): Promise<void> {
    for (const member of members) {
      member.started = false;
      this.#gone(member);
    }
    await this.#each(members, (ids) => ({ do: 'crash', ids }));
  }

  /** The same devices connected from a second place. */
  async copy(members: readonly FleetMember[]): Promise<void> {
    await this.#each(members, (ids) => ({ do: 'copy', ids }));
  }

  /**
   * Ends the copies once everything that either place took is recorded; nothing may be sent to these devices
   * meanwhile.
   */
  async endCopies(members: readonly FleetMember[]): Promise<void> {
    await this.#each(members, (ids) => ({ do: 'end copies', ids }));
  }

  /** Resolves when the ledger has confirmed all that these did. */
  async settle(members: readonly FleetMember[]): Promise<void> {
    await this.#each(members, (ids) => ({ do: 'settle', ids }));
  }

  of(process: FleetProcess): FleetMember[] {
    return [...this.members.values()].filter((member) => member.process === process);
  }

  /** kill -9 of one process, with its devices. */
  async kill(process: FleetProcess): Promise<void> {
    this.#kills.push({ process, at: trueTime() });
    await process.kill();
    for (const member of this.of(process)) this.#gone(member);
  }

  /** Whether a device's process was killed between two moments of `trueTime`. */
  killedBetween(device: string, from: number, to: number): boolean {
    const process = this.members.get(device)?.process;
    return this.#kills.some((kill) => kill.process === process && kill.at >= from && kill.at <= to);
  }

  /** A process that was killed, again, with the same devices; those that had been started are started. */
  async revive(process: FleetProcess): Promise<void> {
    const members = this.of(process);
    process.start();
    await process.ask({ do: 'resume', devices: members.map(({ id, name }) => ({ id, name })) });
    await this.start(members.filter(({ started }) => started));
  }

  /** What every device says it ran. */
  async runs(): Promise<Runs[]> {
    return (await Promise.all(this.#processes.map((process) => process.ask<Runs[]>({ do: 'runs' })))).flat();
  }

  /** The last endings of these devices, the most frequent first: for the message of what failed. */
  endingsOf(members: readonly FleetMember[]): string {
    const counts = new Map<string, number>();
    for (const { endings, where } of members) {
      const place = where ? `${where.gateway}:${where.port}` : 'nowhere';
      const story = `${endings.slice(-4).join(' | ')} -> ${place}`;
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
    await Promise.all(this.#processes.map((process) => process.kill()));
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
      this.#gone(member);
      if ('connected' in item) this.#arrived(member, item);
      else {
        member.endings.push(`${item.ended} ${item.reason}`);
        if (member.endings.length > ENDINGS_KEPT) member.endings.shift();
      }
    }
  }

  #gone(member: FleetMember): void {
    if (!member.where) return;
    this.#counts.set(member.where.gateway, this.count(member.where.gateway) - 1);
    member.where = null;
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
