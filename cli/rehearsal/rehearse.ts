/** What `pushpoint rehearse` does; loaded only when it runs, as it brings the device SDK. */
import type { OperatorContext } from '../command-line.ts';
import { LiveLine } from '../output/live-line.ts';
import { cleanUpGroup, leftBehind } from './clean-up.ts';
import { Rehearsal, type RehearsalReport } from './rehearsal.ts';
import { SHARES } from './returns.ts';

/** One rehearsal, its clean-up included, also after Ctrl-C. */
export async function rehearse(
  context: OperatorContext,
  gateway: string,
  devices: number,
  waitTimeoutMs: number,
): Promise<RehearsalReport> {
  const { api, out, shell, signal } = context;
  const line = new LiveLine(shell);
  const progress = (text: string): void => {
    if (!out.json) line.update(text);
  };
  const rehearsal = new Rehearsal({ api, gateway, devices, waitTimeoutMs, signal, progress });
  try {
    return await rehearsal.run();
  } finally {
    line.end();
    await rehearsal.stop();
    if (rehearsal.made) await cleanUp(context, rehearsal.group, progress);
    line.end();
  }
}

/** Ctrl-C has ended every request of `api`: the clean-up uses its own client, with its own Ctrl-C. */
async function cleanUp(
  { api, out, shell }: OperatorContext,
  group: string,
  progress: (text: string) => void,
): Promise<void> {
  const interrupt = new AbortController();
  const release = shell.onInterrupt(() => interrupt.abort());
  try {
    await cleanUpGroup(api.withSignal(interrupt.signal), group, (left) =>
      progress(`cleaning up, ${left} devices left`),
    );
  } catch (error) {
    out.note(
      `Group ${group} is left behind (${(error as Error).message}). Later: pushpoint rehearse --clean`,
    );
  } finally {
    release();
  }
}

/** Removes what rehearsals that were killed left behind. */
export async function clean({ api, out }: OperatorContext): Promise<void> {
  const groups = await leftBehind(api);
  let devices = 0;
  for (const group of groups) devices += await cleanUpGroup(api, group);
  if (out.json) out.document({ groups: groups.length, devices });
  else
    out.line(
      groups.length === 0
        ? 'Nothing was left behind.'
        : `Removed ${groups.length} groups with ${devices} devices.`,
    );
}

export function showReport({ out }: OperatorContext, report: RehearsalReport): void {
  if (out.json) {
    out.document(report);
    return;
  }
  const seconds = (value: number | null): string =>
    value === null ? 'not reached' : `${value.toFixed(2)} s`;
  out.line(
    `${report.devices} devices lost ${report.gateway}. Seconds until so many were back, and until they ` +
      'worked again:',
  );
  out.table(
    [
      { title: 'SHARE', value: ({ share }) => `${share} %` },
      { title: 'BACK', value: ({ back }) => seconds(back) },
      { title: 'WORKING', value: ({ working }) => seconds(working) },
    ],
    SHARES.map((share) => ({ share, back: report.back[share], working: report.working[share] })),
    '',
  );
  const went = Object.entries(report.went).sort(([a], [b]) => (a < b ? -1 : 1));
  out.line(`They went to ${went.map(([name, count]) => `${name} (${count})`).join(', ') || 'nobody'}.`);
  if (report.missing > 0) out.line(`${report.missing} did not work again in time.`);
}
