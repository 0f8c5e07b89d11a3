/** The rules every store keeps, run over SQLite and PostgreSQL by the test files beside this one. */
import { suite } from 'uvu';
import { changeRules } from './store-contract-changes.ts';
import { commandRules } from './store-contract-commands.ts';
import { executionRules } from './store-contract-executions.ts';
import { inventoryRules } from './store-contract-inventory.ts';
import { journalRules } from './store-contract-journal.ts';
import { pkiRules } from './store-contract-pki.ts';
import { secretRules } from './store-contract-secrets.ts';
import { tunnelRules } from './store-contract-tunnels.ts';
import type { Rule, StoreUnderTest } from './store-under-test.ts';

export function storeContract(name: string, under: StoreUnderTest): void {
  const rules = suite(`store contract: ${name}`);
  rules.after.each(() => under.cleanUp());
  const rule: Rule = (title, body) => rules(title, async () => body(await under.fresh()));
  inventoryRules(rule);
  changeRules(rule, under);
  commandRules(rule, under);
  executionRules(rule, under);
  tunnelRules(rule, under);
  pkiRules(rule);
  secretRules(rule, under);
  journalRules(rule, under);
  rules.run();
}
