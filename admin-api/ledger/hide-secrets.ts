import type { LedgerSecrets } from '../secrets/ledger-secrets.ts';
import type { Command } from '../store/records.ts';
import type { Advance } from '../store/store.ts';

/**
 * Reports as the store keeps them: what a device returned for a secret command is encrypted, also if the
 * device did not seal it, and for any other command it is not.
 */
export function hideSecrets(
  reports: readonly Advance[],
  commands: readonly Command[],
  ledger: LedgerSecrets,
): readonly Advance[] {
  const secret = new Set(commands.filter((command) => command.secret).map(({ id }) => id));
  if (secret.size === 0 && !reports.some((report) => report.secret)) return reports;
  const known = new Set(commands.map(({ id }) => id));
  return reports.map((report) => {
    const { command, device, data } = report;
    if (secret.has(command)) {
      if (report.secret || data === undefined) return report;
      return { ...report, data: ledger.sealOutcome(command, device, { data }) };
    }
    if (!report.secret || !known.has(command)) return report;
    const { reason = null, data: told } = ledger.openOutcome(command, device, String(data));
    const { data: _, ...rest } = report;
    return { ...rest, reason, ...(told !== undefined && { data: told }) };
  });
}
