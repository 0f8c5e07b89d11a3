/** `pushpoint rehearse`: how long devices take to come back when a gateway is gone, tried with simulated ones. */
import type { Command } from 'commander';
import { CliError, EXIT } from '../exit-codes.ts';
import { LiveLine } from '../output/live-line.ts';
import { cleanUpGroup, leftBehind } from '../rehearsal/clean-up.ts';
import { Rehearsal, type RehearsalReport } from '../rehearsal/rehearsal.ts';
import { SHARES } from '../rehearsal/returns.ts';
import {
  countFlag,
  durationFlag,
  type OperatorContext,
  type OperatorShell,
  operatorCommand,
} from './operator-command.ts';

const DEFAULT_DEVICES = 500;
/** One descriptor each, and this program's own. */
const DEVICES_MAX = 15_000;
const DEFAULT_WAIT_MS = 300_000;

const HELP = `
Makes simulated devices in a group of their own, connects them to the gateway, and then cuts them off from it, all at once, as if
it had died. Tells how long it took until 50, 90, 99 and 100 % of them were back on other gateways, and until they worked
again: until a command had reached them and its outcome was on record. The gateway goes on serving real devices; none of
them is moved. Other gateways get the newcomers for real: it refuses to begin where they have no room.

Devices, enrolment token and group are removed at the end, also after Ctrl-C. Needs a token with the role admin.

  pushpoint rehearse --gateway gw1 --devices 2000
  pushpoint rehearse --clean          removes what a rehearsal that was killed left behind
`;

export function addRehearseCommand(program: Command, shell: OperatorShell): void {
  operatorCommand(
    program,
    shell,
    'rehearse',
    'how long devices take to return when a gateway is gone, tried with simulated ones',
    async (context, _, flags) => {
      if (flags.clean === true) return clean(context);
      const gateway = flags.gateway as string | undefined;
      if (gateway === undefined)
        throw new CliError(EXIT.usage, 'Which gateway? Give --gateway NAME (or --clean).');
      const devices = flags.devices as number;
      if (devices > DEVICES_MAX) {
        throw new CliError(EXIT.usage, `--devices: one program simulates at most ${DEVICES_MAX}.`);
      }
      const report = await rehearse(context, gateway, devices, flags.waitTimeout as number);
      show(context, report);
      return report.missing === 0 ? EXIT.ok : EXIT.waitTimeout;
    },
  )
    .option('--gateway <name>', 'the gateway to take away')
    .option('--devices <count>', 'devices to simulate', countFlag, DEFAULT_DEVICES)
    .option('--wait-timeout <duration>', 'how long to wait for the last one', durationFlag, DEFAULT_WAIT_MS)
    .option('--clean', 'only remove what earlier rehearsals left behind')
    .addHelpText('after', HELP);
}

async function rehearse(
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

/** Ctrl-C has ended every request of `api`: cleaning up has its own, and a Ctrl-C of its own. */
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

async function clean({ api, out }: OperatorContext): Promise<void> {
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

function show({ out }: OperatorContext, report: RehearsalReport): void {
  if (out.json) {
    out.document(report);
    return;
  }
  const seconds = (value: number | null): string =>
    value === null ? 'not reached' : `${value.toFixed(2)} s`;
  out.line(
    `${report.devices} devices lost ${report.gateway}. Seconds until so many were back, and until they worked again:`,
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
