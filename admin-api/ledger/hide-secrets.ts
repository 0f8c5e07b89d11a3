import { tellsSecrets } from '../../protocol/index.ts';
import type { LedgerSecrets } from '../secrets/ledger-secrets.ts';
import type { Command } from '../store/records.ts';
import type { Advance } from '../store/store.ts';

/**
 * Reports in the form in which the store keeps them. The outcome of a secret command is encrypted, even if
 * the device sent it in the clear. The outcome of any other command is not, even if the device sealed it.
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
      // Devices send no notes of secret commands.
      const shown = { ...report, note: null };
      const told = {
        ...(report.reason !== null && { reason: report.reason }),
        ...(data !== undefined && { data }),
      };
      if (report.secret || !tellsSecrets(told)) return shown;
      return { ...shown, reason: null, data: ledger.sealOutcome(command, device, told) };
    }
    if (!report.secret || !known.has(command)) return report;
    const { reason = null, data: told } = ledger.openOutcome(command, device, String(data));
    const { data: _, ...rest } = report;
    return { ...rest, reason, ...(told !== undefined && { data: told }) };
  });
}
