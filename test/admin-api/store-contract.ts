/** The rules every store keeps, run over SQLite and PostgreSQL by the test files beside this one. */
import { suite } from 'uvu';
import type { Store } from '../../admin-api/store/store.ts';
import { commandRules } from './store-contract-commands.ts';
import { executionRules } from './store-contract-executions.ts';
import { inventoryRules } from './store-contract-inventory.ts';
import { journalRules } from './store-contract-journal.ts';

/** What a database under test offers. */
export interface StoreUnderTest {
  /** A started store on an empty database of its own. */
  fresh(): Promise<Store>;
  /** Another store on the same database, as a second server has; SQLite has one server, and answers the same store. */
  second(store: Store): Promise<Store>;
  /** Stops every store that was handed out since the last call. */
  cleanUp(): Promise<void>;
}

export type Rule = (title: string, body: (store: Store) => Promise<void>) => void;

export function storeContract(name: string, under: StoreUnderTest): void {
  const rules = suite(`store contract: ${name}`);
  rules.after.each(() => under.cleanUp());
  const rule: Rule = (title, body) => rules(title, async () => body(await under.fresh()));
  inventoryRules(rule);
  commandRules(rule, under);
  executionRules(rule, under);
  journalRules(rule, under);
  rules.run();
}
