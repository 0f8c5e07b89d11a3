/** Sends outbox entries to their devices, and reports the commands that it could not deliver. */
import { setImmediate as turn } from 'node:timers/promises';
import type { Delivery as OutboxDelivery, OutboxEntry } from '../../bus/bus.ts';
import type { Dismissals } from '../admission/dismissals.ts';
import type { GatewayList } from '../lists/gateway-list.ts';
import type { Metrics } from '../metrics.ts';
import type { ReceiptSpool } from '../receipts/spool.ts';
import type { Connections } from '../sessions/connections.ts';
import type { PendingSettled, SettledCommand } from '../sessions/pending-settled.ts';
import type { AdmittedConnection } from '../sessions/session.ts';
import type { Ticker } from '../ticker.ts';
import type { TunnelRelay } from '../tunnels/tunnel-relay.ts';

/** Devices served before yielding to other work: about 10 ms of sending. */
const SLICE = 1_000;
const DEVICES_PER_RECEIPT = 1_000;

/** The tasks of one connection, in the order of the entries. */
interface Task {
  delivery: OutboxDelivery;
  device: string;
}

export interface DeliveryParts {
  connections: Connections;
  gateways: GatewayList;
  pendingSettled: PendingSettled;
  spool: ReceiptSpool;
  metrics: Metrics;
  ticker: Pick<Ticker, 'now'>;
  tunnels: Pick<TunnelRelay, 'deliver'>;
  dismissals: Pick<Dismissals, 'take'>;
  incarnation: string;
  now: () => number;
}

export class Delivery {
  readonly #connections: Connections;
  readonly #gateways: GatewayList;
  readonly #pendingSettled: PendingSettled;
  readonly #spool: ReceiptSpool;
  readonly #metrics: Metrics;
  readonly #ticker: Pick<Ticker, 'now'>;
  readonly #tunnels: Pick<TunnelRelay, 'deliver'>;
  readonly #dismissals: Pick<Dismissals, 'take'>;
  readonly #incarnation: string;
  readonly #now: () => number;

  constructor(parts: DeliveryParts) {
    this.#connections = parts.connections;
    this.#gateways = parts.gateways;
    this.#pendingSettled = parts.pendingSettled;
    this.#spool = parts.spool;
    this.#metrics = parts.metrics;
    this.#ticker = parts.ticker;
    this.#tunnels = parts.tunnels;
    this.#dismissals = parts.dismissals;
    this.#incarnation = parts.incarnation;
    this.#now = parts.now;
  }

  async deliver(entries: readonly OutboxEntry[]): Promise<void> {
    const missed = new Map<string, string[]>();
    let tasks = new Map<AdmittedConnection, Task | Task[]>();
    let count = 0;
    for (const { delivery } of entries) {
      if (delivery.tunnel || delivery.tunnelEnd) this.#tunnels.deliver(delivery);
      if (delivery.frame && delivery.close) this.#dismissals.take(delivery.frame);
      for (const [index, device] of delivery.devices.entries()) {
        if (delivery.settled) this.#settle(device, delivery.settled);
        else this.#assign(tasks, delivery, device, index, missed);
        if (++count % SLICE === 0) {
          this.#perform(tasks, missed);
          tasks = new Map();
          await turn();
        }
      }
    }
    this.#perform(tasks, missed);
    this.#report(missed);
  }

  /** A device that has left since sends its result again. */
  #settle(device: string, command: SettledCommand): void {
    const connection = this.#connections.sessions.get(device);
    const now = connection && this.#pendingSettled.add(connection, command, this.#ticker.now);
    if (now) this.#connections.sendSettled(connection, now);
  }

  #assign(
    tasks: Map<AdmittedConnection, Task | Task[]>,
    delivery: OutboxDelivery,
    device: string,
    index: number,
    missed: Map<string, string[]>,
  ): void {
    const connection = this.#connections.sessions.get(device);
    const named = delivery.close?.sessions?.[index] ?? 0;
    if (!connection || (named !== 0 && named !== connection.state.session)) {
      this.#miss(delivery, device, missed);
      return;
    }
    const task = { delivery, device };
    const before = tasks.get(connection);
    if (!before) tasks.set(connection, task);
    else if (Array.isArray(before)) before.push(task);
    else tasks.set(connection, [before, task]);
  }

  #perform(tasks: Map<AdmittedConnection, Task | Task[]>, missed: Map<string, string[]>): void {
    for (const [connection, todo] of tasks) {
      if (!Array.isArray(todo) || connection.state.name !== 'admitted') {
        for (const task of Array.isArray(todo) ? todo : [todo]) this.#performOne(connection, task, missed);
      } else {
        this.#connections.cork(connection, () => {
          for (const task of todo) this.#performOne(connection, task, missed);
        });
      }
    }
  }

  #performOne(
    connection: AdmittedConnection,
    { delivery, device }: Task,
    missed: Map<string, string[]>,
  ): void {
    // An entry before this one may have closed the session.
    if (connection.state.name !== 'admitted') {
      this.#miss(delivery, device, missed);
      return;
    }
    if (delivery.groups) connection.state.scope = this.#gateways.scope(delivery.groups);
    if (delivery.frame) {
      if (this.#connections.send(connection, delivery.frame)) this.#metrics.deliveries++;
      else this.#miss(delivery, device, missed);
    }
    if (delivery.close) this.#connections.close(connection, delivery.close.code, delivery.close.reason);
  }

  #miss(delivery: OutboxDelivery, device: string, missed: Map<string, string[]>): void {
    if (delivery.frame) this.#metrics.undelivered++;
    if (delivery.commandId === undefined) return;
    const devices = missed.get(delivery.commandId);
    if (devices) devices.push(device);
    else missed.set(delivery.commandId, [device]);
  }

  #report(missed: Map<string, string[]>): void {
    const at = this.#now();
    for (const [command, devices] of missed) {
      for (let start = 0; start < devices.length; start += DEVICES_PER_RECEIPT) {
        const part = devices.slice(start, start + DEVICES_PER_RECEIPT);
        const receipt = {
          kind: 'undelivered' as const,
          command,
          devices: part,
          incarnation: this.#incarnation,
          at,
        };
        this.#spool.add(receipt, part.length * 32);
      }
    }
  }
}
