/**
 * Ends that the ledger gave although the device had succeeded and its gateway had been told in time. Judged
 * by what devices and the harness noted on the machine's own clock, whatever the programs' clocks say, and by
 * the ledger's own word.
 */
import type { Runs } from './fleet-messages.ts';
import type { ExecutionView, Given } from './given.ts';

const BY_LEDGER = ['timed-out', 'expired', 'superseded', 'canceled'];

/** `misdated`: times that programs recorded are not those of the machine. */
export function falseEnds(
  given: readonly Given[],
  rows: ReadonlyMap<string, readonly ExecutionView[]>,
  runs: ReadonlyMap<string, readonly Runs[]>,
  misdated: boolean,
): string[] {
  const problems: string[] = [];
  for (const each of given) {
    const ran = new Map(runs.get(each.id)?.map((run) => [run.device, run]));
    for (const row of rows.get(each.id) ?? []) {
      const run = ran.get(row.deviceId);
      if (!BY_LEDGER.includes(row.state) || !run) continue;
      const byLedger = row.late?.state === 'succeeded' && row.late.inTime === true;
      const until = lastMoment(each, row, run, given, misdated);
      const heard = run.heardAt !== null && until !== null && run.heardAt <= until;
      if (!heard && !byLedger) continue;
      const told = [`heard at ${run.heardAt}`, `to be heard by ${until}`, `late ${JSON.stringify(row.late)}`];
      problems.push(
        `falseEnds: ${each.type} ${each.id} on ${row.deviceId}: ${row.state}; ${told.join(', ')}`,
      );
    }
  }
  return problems;
}

/** When a success had to be with the gateway for the end to be false; `null` when that cannot be told. */
function lastMoment(
  each: Given,
  row: ExecutionView,
  run: Runs,
  given: readonly Given[],
  misdated: boolean,
): number | null {
  switch (row.state) {
    case 'expired':
      return each.ttlMs === null ? null : each.askedAt + each.ttlMs;
    case 'timed-out':
      return run.begunAt + each.timeoutMs;
    case 'superseded':
      return superseding(each, row.deviceId, given);
    default:
      if (each.canceledAt !== undefined) return each.canceledAt;
      return misdated || row.finishedAt === null ? null : Date.parse(row.finishedAt);
  }
}

/** When the first command that could replace it was asked for. */
function superseding(
  { id, collapseKey, askedAt }: Given,
  device: string,
  given: readonly Given[],
): number | null {
  const later = given
    .filter((each) => each.id !== id && each.collapseKey === collapseKey && each.devices.includes(device))
    .map((each) => each.askedAt)
    // Two that were asked for at about the same time may be stored in either order.
    .filter((at) => at > askedAt);
  return later.length > 0 ? Math.min(...later) : null;
}
