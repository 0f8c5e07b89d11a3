/** The rules of `bus/bus.ts` that every implementation is held to, one file per part. */
import { test } from 'uvu';
import type { BusUnderTest, Rule } from './bus-under-test.ts';
import { directoryRules } from './contract-directory.ts';
import { joinRules } from './contract-joins.ts';
import { leaseRules } from './contract-leases.ts';
import { lifeRules } from './contract-life.ts';
import { outboxBoundRules, outboxRules } from './contract-outboxes.ts';
import { presenceRules } from './contract-presence.ts';
import { receiptBoundRules, receiptRules } from './contract-receipts.ts';

/**
 * Registers all rules for `subject`; the caller runs them with `test.run()`. Without `bounds` those are left
 * out that take long because they fill something: the same scripts hold them to the bounds on every kind of
 * Redis.
 */
export function busContract(subject: BusUnderTest, options: { bounds?: boolean } = {}): void {
  const { bounds = true } = options;
  const rule: Rule = (title, body) => {
    test(title, async () => {
      const bus = await subject.fresh();
      try {
        await body(bus);
      } finally {
        await bus.stop();
      }
    });
  };
  lifeRules(rule, subject);
  leaseRules(rule);
  outboxRules(rule);
  if (bounds) outboxBoundRules(rule);
  receiptRules(rule);
  if (bounds) receiptBoundRules(rule);
  presenceRules(rule);
  directoryRules(rule);
  joinRules(rule);
  test.after(() => subject.close());
}
