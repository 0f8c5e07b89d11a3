/** Applies what gateways send in the order it arrives, although verification takes time. */
import type {
  GatewaysOrder,
  MembershipOrder,
  Order,
  SignedOrder,
  SignedServerKeys,
} from '../../protocol/index.ts';
import type { DeviceEvents } from '../device-events.ts';
import type { Executions } from '../executions/executions.ts';
import type { Orders } from '../executions/orders.ts';
import type { ServerClock } from '../executions/server-clock.ts';
import type { TrustedKeys } from '../keys/trusted-keys.ts';
import type { SessionMessage } from './uplink.ts';

/** Most orders that wait for verification; more are dropped, and the server sends them again. */
const WAITING_MAX = 2_000;

export interface InboxParts {
  orders: Orders;
  executions: Executions;
  clock: ServerClock;
  trusted: TrustedKeys;
  /** There are newer server keys to store (K-3). */
  keys(signed: SignedServerKeys): void;
  /** There is a newer membership to store (S-7). */
  membership(order: SignedOrder, body: MembershipOrder): void;
  /** There is a newer list of gateways to store (G-18). */
  list(order: SignedOrder, body: GatewaysOrder): void;
  refused(event: DeviceEvents['order-refused']): void;
  fault(error: unknown): void;
}

export class Inbox {
  readonly #parts: InboxParts;
  #last: Promise<void> = Promise.resolve();
  #waiting = 0;

  constructor(parts: InboxParts) {
    this.#parts = parts;
  }

  /** Resolves when everything that arrived before has taken effect. */
  caughtUp(): Promise<void> {
    return this.#last;
  }

  /** `open`: it arrived after `welcome`; before that, only memberships and lists of gateways count (H-11). */
  take(message: SessionMessage, open: boolean): void {
    const { executions, clock } = this.#parts;
    if (message.t === 'order') {
      this.#enqueue(() => this.#order(message, open));
    } else if (message.t === 'keys') {
      const { t: _, ...signed } = message;
      this.#enqueue(async () => {
        if (!(await this.#keys([signed]))) this.#parts.refused({ reason: 'server keys' });
      });
    } else if (message.t === 'settled') {
      this.#enqueue(() => executions.settled(message.id, message.state));
    } else if (message.t === 'keep') {
      executions.keep(message.id, message.retryMs);
    } else if (message.t === 'key') {
      this.#enqueue(() => executions.key(message));
    } else {
      clock.told(message.time);
      const { settled } = message;
      if (settled) {
        // Together, so that they share one sync to the disk.
        this.#enqueue(async () => {
          await Promise.all(settled.map((id) => executions.settled(id)));
        });
      }
      void executions.sweep();
    }
  }

  /** Documents that an answer brought (K-7). Resolves when those that follow are trusted. */
  follow(documents: readonly SignedServerKeys[]): Promise<void> {
    this.#enqueue(async () => {
      await this.#keys(documents);
    });
    return this.#last;
  }

  #enqueue(step: () => Promise<void>): void {
    const { fault } = this.#parts;
    if (this.#waiting >= WAITING_MAX) {
      fault(new Error('more orders than can be verified: some were dropped and will come again'));
      return;
    }
    this.#waiting++;
    this.#last = this.#last
      .then(step)
      .catch(fault)
      .finally(() => {
        this.#waiting--;
      });
  }

  async #keys(documents: readonly SignedServerKeys[]): Promise<boolean> {
    const { trusted, keys } = this.#parts;
    const newest = await trusted.take(documents);
    if (newest) keys(newest);
    return newest !== null;
  }

  async #order(order: Order, open: boolean): Promise<void> {
    const { orders, executions, membership, list, refused, fault } = this.#parts;
    const verdict = await orders.judge(order);
    if (verdict.as === 'skipped') return;
    if (verdict.as === 'refused') {
      const { reason, id } = verdict;
      refused(id === undefined ? { reason } : { reason, id });
      executions.witnessed();
      return;
    }
    const { body } = verdict;
    const signed = { body: order.body, sig: order.sig };
    if (body.kind === 'membership') {
      membership(signed, body);
      executions.witnessed();
    } else if (body.kind === 'gateways') {
      list(signed, body);
      executions.witnessed();
    } else if (!open) {
      return;
    } else if (body.kind === 'command') {
      // Not awaited: several commands share one sync to the disk. Their effects stay in order.
      void executions.command(body, verdict.as === 'expired').catch(fault);
      if (verdict.as === 'expired') executions.witnessed();
    } else {
      if (verdict.as === 'expired') refused({ reason: 'expired', id: body.id });
      else void executions.cancel(body).catch(fault);
      executions.witnessed();
    }
  }
}
