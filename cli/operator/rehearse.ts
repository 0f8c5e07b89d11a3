/**
 * `pushpoint rehearse`: measures with simulated devices how long devices take to return when a gateway is
 * gone.
 */
import { type Command, Option } from 'commander';
import { type CommandShell, countFlag, durationFlag } from '../command-line.ts';
import { roughDuration } from '../config/duration.ts';
import { CliError, EXIT } from '../exit-codes.ts';
import { operatorCommand } from './operator-command.ts';

const DEFAULT_DEVICES = 500;
/** One descriptor each, and this program's own. */
const DEVICES_MAX = 15_000;
const DEFAULT_WAIT_MS = 300_000;

const HELP = `
Creates simulated devices in a group of their own, connects them to the gateway, and then cuts them
off from it, all at once, as if it had died. Reports how long it took until 50, 90, 99 and 100 % of
them were back on other gateways, and until they worked again: until a command had reached them and
its outcome was stored. The gateway goes on serving real devices; none of them is moved. For the
other gateways the load is real: rehearse refuses to begin if they have no room.

It removes devices, enrolment token and group at the end, also after Ctrl-C. It needs a token with
the role admin.

  pushpoint rehearse --gateway gw1 --devices 2000
  pushpoint rehearse --clean          removes what a killed rehearsal left
`;

export function addRehearseCommand(program: Command, shell: CommandShell): void {
  operatorCommand(
    program,
    shell,
    'rehearse',
    'measure how long devices take to return when a gateway is gone, with simulated devices',
    async (context, _, flags) => {
      const { clean, rehearse, showReport } = await import('../rehearsal/rehearse.ts');
      if (flags.clean === true) return clean(context);
      const gateway = flags.gateway as string | undefined;
      if (gateway === undefined)
        throw new CliError(EXIT.usage, 'Which gateway? Give --gateway NAME (or --clean).');
      const devices = flags.devices as number;
      if (devices > DEVICES_MAX) {
        throw new CliError(EXIT.usage, `--devices: one program simulates at most ${DEVICES_MAX}.`);
      }
      const report = await rehearse(context, gateway, devices, flags.waitTimeout as number);
      showReport(context, report);
      return report.missing === 0 ? EXIT.ok : EXIT.waitTimeout;
    },
  )
    .option('--gateway <name>', 'the gateway that goes away')
    .option('--devices <count>', 'devices to simulate', countFlag, DEFAULT_DEVICES)
    .addOption(
      new Option('--wait-timeout <duration>', 'how long devices may take to return and to work again')
        .default(DEFAULT_WAIT_MS, roughDuration(DEFAULT_WAIT_MS))
        .argParser(durationFlag),
    )
    .option('--clean', 'only remove what earlier rehearsals left')
    .addHelpText('after', HELP);
}
