/** `pushpoint gateways`: distribution points and how they are. */
import { type Command, InvalidArgumentError } from 'commander';
import type { GatewayView, StatusView } from '../api/views.ts';
import {
  type CommandShell,
  countFlag,
  durationFlag,
  type Flags,
  type OperatorContext,
  portFlag,
} from '../command-line.ts';
import { CliError, EXIT, type ExitCode } from '../exit-codes.ts';
import { gatewayColumns, showCoverage, showGateway } from './gateway-tables.ts';
import {
  drainOutcome,
  followGateway,
  type GatewayWait,
  settingsOutcome,
  whenTakenUp,
} from './gateway-wait.ts';
import { resolveId } from './lookup.ts';
import { namesOf } from './names.ts';
import { DEFAULT, limitOf, noteMore, operatorCommand, withLimit } from './operator-command.ts';

const pathOf = (name: string | undefined): string => `/v1/gateways/${encodeURIComponent(name ?? '')}`;

export function addGatewaysCommands(program: Command, shell: CommandShell): Command {
  const gateways = program
    .command('gateways')
    .description('gateways (distribution points) and their settings');

  const list = operatorCommand(
    gateways,
    shell,
    'list',
    'gateways with their state and load',
    async ({ api, out }, _, flags) => {
      const page = await api.list<GatewayView>('/v1/gateways', {}, limitOf(flags));
      if (out.json) return out.document(page);
      const groups = await namesOf(
        api,
        'groups',
        page.items.map((gateway) => gateway.groupId),
      );
      out.table(gatewayColumns(groups), page.items, 'No gateways.');
      noteMore(out, page.next);
      showCoverage(out, await api.get<StatusView>('/v1/status'));
    },
    DEFAULT,
  );
  withLimit(list);

  operatorCommand(gateways, shell, 'show <name>', 'one gateway with its workers', async (context, [name]) => {
    await showGateway(context, await context.api.get<GatewayView>(pathOf(name)));
  });

  withSettings(
    operatorCommand(
      gateways,
      shell,
      'add <name>',
      'register a gateway before it is started',
      async (context, [name], flags) => {
        const body = { name, ...(await settingsOf(context, flags)) };
        await showGateway(context, await context.api.request<GatewayView>('POST', '/v1/gateways', { body }));
      },
    ),
  );

  withWait(
    withSettings(
      operatorCommand(
        gateways,
        shell,
        'set <name>',
        'change settings; the gateway applies them within seconds',
        async (context, [name], flags) => {
          const { api } = context;
          const body = await settingsOf(context, flags);
          if (Object.keys(body).length === 0)
            throw new CliError(EXIT.usage, 'Nothing to change: name a setting.');
          const before = await api.get<GatewayView>(pathOf(name));
          const changed = await api.request<GatewayView>('PATCH', pathOf(name), { body });
          if (flags.wait !== true) return showGateway(context, changed);
          return waitAndShow(context, name, flags, settingsOutcome(before));
        },
      ),
    ),
    'wait until the settings are applied, or the reason is known why they cannot be',
  );

  withWait(
    operatorCommand(
      gateways,
      shell,
      'drain <name>',
      'refuse new devices and send the connected ones to other gateways',
      async (context, [name], flags) => {
        const view = await context.api.request<GatewayView>('POST', `${pathOf(name)}/drain`);
        if (flags.wait !== true) return showGateway(context, view);
        return waitAndShow(context, name, flags, drainOutcome());
      },
    ),
    'wait until every device has left and is served elsewhere',
  );

  operatorCommand(
    gateways,
    shell,
    'undrain <name>',
    'admit devices again; those that have not left stay',
    async (context, [name]) => {
      await context.api.request('DELETE', `${pathOf(name)}/drain`);
      await showGateway(context, await whenTakenUp(context, pathOf(name)));
    },
  );

  operatorCommand(
    gateways,
    shell,
    'release-ports <name>',
    'stop listening on former ports',
    async (context, [name]) => {
      await showGateway(
        context,
        await context.api.request<GatewayView>('DELETE', `${pathOf(name)}/former-ports`),
      );
    },
  );

  operatorCommand(
    gateways,
    shell,
    'delete <name>',
    'delete a gateway that does not run',
    async ({ api, out }, [name]) => {
      await api.request('DELETE', pathOf(name));
      if (out.json) out.document({ deleted: name });
      else out.line(`Deleted ${name}.`);
    },
  );
  return gateways;
}

function withWait(command: Command, description: string): Command {
  return command
    .option('--wait', description)
    .option('--wait-timeout <duration>', 'stop waiting after this long', durationFlag);
}

async function waitAndShow(
  context: OperatorContext,
  name: string | undefined,
  flags: Flags,
  outcome: GatewayWait['outcome'],
): Promise<ExitCode> {
  const waitTimeoutMs = flags.waitTimeout as number | undefined;
  const end = await followGateway(context, pathOf(name), { outcome, waitTimeoutMs });
  await showGateway(context, end.gateway);
  return end.outcome === 'done' ? EXIT.ok : EXIT.notAllSucceeded;
}

function withSettings(command: Command): Command {
  return command
    .option('--group <group>', 'group it serves, with its subgroups')
    .option('--run <on|off>', 'run the push server', (text: string) => {
      if (text !== 'on' && text !== 'off') throw new InvalidArgumentError('Expected on or off.');
      return text === 'on';
    })
    .option('--port <port>', 'push server port', portFlag)
    .option('--address <url>', 'address for remote hosts: the URL devices dial')
    .option('--limit <count>', 'most connections', countFlag);
}

async function settingsOf({ api }: OperatorContext, flags: Flags): Promise<Record<string, unknown>> {
  const groupId =
    flags.group === undefined ? undefined : await resolveId(api, 'groups', flags.group as string);
  const settings = {
    groupId,
    runPushServer: flags.run,
    port: flags.port,
    address: flags.address,
    connectionLimit: flags.limit,
  };
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
}
