import { Problem } from '../problems.ts';
import type { LedgerSecrets } from '../secrets/ledger-secrets.ts';
import type { Execution } from '../store/records.ts';
import type { ExecutionKey, Store } from '../store/store.ts';

export interface SecretResultsParts {
  store: Store;
  ledgerSecrets: LedgerSecrets;
  now: () => number;
}

/** Reveals the result of one execution of a secret command, and records who asked. */
export class SecretResults {
  readonly #parts: SecretResultsParts;

  constructor(parts: SecretResultsParts) {
    this.#parts = parts;
  }

  /** Throws `Problem` not-found. */
  async reveal({ command, device }: ExecutionKey, actor: string): Promise<Execution> {
    const { store, ledgerSecrets, now } = this.#parts;
    const execution = await store.executions.get({ command, device });
    if (!execution) throw unknownExecution({ command, device });
    const { secret } = execution;
    if (typeof secret !== 'string') return execution;
    const action = 'execution.reveal';
    await store.audit.append({ at: now(), actor, action, subject: command, detail: { device } });
    const { reason = execution.reason, data = null } = ledgerSecrets.openOutcome(command, device, secret);
    return { ...execution, reason, data };
  }
}

export function unknownExecution({ command, device }: ExecutionKey): Problem {
  return new Problem('not-found', `There is no execution of ${command} on ${device}.`);
}
