/** `pushpoint gateways`: distribution points and how they are. */
import { type Command, InvalidArgumentError } from 'commander';
import { CliError, EXIT } from '../exit-codes.ts';
import type { Output } from '../output/output.ts';
import { paintState } from '../output/style.ts';
import type { Column } from '../output/table.ts';
import { resolveId } from './lookup.ts';
import {
  countFlag,
  DEFAULT,
  type Flags,
  limitOf,
  noteMore,
  type OperatorContext,
  type OperatorShell,
  operatorCommand,
  portFlag,
  withLimit,
} from './operator-command.ts';
import type { GatewayView, WorkerView } from './views.ts';

const COLUMNS: readonly Column<GatewayView>[] = [
  { title: 'NAME', value: (row) => row.name },
  { title: 'STATE', value: (row) => row.state, paint: (cell, _, style) => paintState(cell, style) },
  { title: 'GROUP', value: (row) => row.groupId },
  { title: 'ADDRESS', value: (row) => row.address, shrink: true },
  { title: 'CONNECTIONS', value: (row) => row.connections, align: 'right' },
  { title: 'LIMIT', value: (row) => row.connectionLimit, align: 'right' },
  { title: 'PROBLEM', value: (row) => row.problem, shrink: true },
];

const WORKER_COLUMNS: readonly Column<WorkerView>[] = [
  { title: 'WORKER', value: (row) => row.worker },
  { title: 'HOST', value: (row) => `${row.host} (${row.pid})`, shrink: true },
  { title: 'CONNECTIONS', value: (row) => row.connections, align: 'right' },
  { title: 'ADMITTED/S', value: (row) => row.admissionRate.toFixed(1), align: 'right' },
  { title: 'BUFFERED', value: (row) => `${Math.round(row.bufferedBytes / 1024)} KiB`, align: 'right' },
  { title: 'MEMORY', value: (row) => `${Math.round(row.memoryBytes / 1048576)} MiB`, align: 'right' },
  { title: 'CPU', value: (row) => `${Math.round(row.cpu * 100)} %`, align: 'right' },
];

const pathOf = (name: string | undefined): string => `/v1/gateways/${encodeURIComponent(name ?? '')}`;

export function addGatewaysCommands(program: Command, shell: OperatorShell): void {
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
      out.table(COLUMNS, page.items, 'No gateways.');
      noteMore(out, page.next);
    },
    DEFAULT,
  );
  withLimit(list);

  operatorCommand(
    gateways,
    shell,
    'show <name>',
    'one gateway with its workers',
    async ({ api, out }, [name]) => {
      showGateway(out, await api.get<GatewayView>(pathOf(name)));
    },
  );

  withSettings(
    operatorCommand(
      gateways,
      shell,
      'add <name>',
      'register a gateway before it is started',
      async (context, [name], flags) => {
        const body = { name, ...(await settingsOf(context, flags)) };
        showGateway(context.out, await context.api.request<GatewayView>('POST', '/v1/gateways', { body }));
      },
    ),
  );

  withSettings(
    operatorCommand(
      gateways,
      shell,
      'set <name>',
      'change settings; the gateway obeys at once',
      async (context, [name], flags) => {
        const body = await settingsOf(context, flags);
        if (Object.keys(body).length === 0)
          throw new CliError(EXIT.usage, 'Nothing to change: name a setting.');
        showGateway(context.out, await context.api.request<GatewayView>('PATCH', pathOf(name), { body }));
      },
    ),
  );

  operatorCommand(
    gateways,
    shell,
    'delete <name>',
    'forget a gateway that does not run',
    async ({ api, out }, [name]) => {
      await api.request('DELETE', pathOf(name));
      if (out.json) out.document({ deleted: name });
      else out.line(`Deleted ${name}.`);
    },
  );
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

function showGateway(out: Output, gateway: GatewayView): void {
  if (out.json) {
    out.document(gateway);
    return;
  }
  out.fields([
    ['Gateway', gateway.name],
    ['State', gateway.problem === undefined ? gateway.state : `${gateway.state}: ${gateway.problem}`],
    ['Serves', `group ${gateway.groupId}`],
    ['Push server', `${gateway.runPushServer ? 'on' : 'off'}, port ${gateway.port}`],
    ['Address', gateway.address],
    ['Connections', `${gateway.connections} of at most ${gateway.connectionLimit}`],
    ['On record', `${gateway.connectedOnRecord} devices connected`],
  ]);
  if (gateway.workers.length > 0) {
    out.line();
    out.table(WORKER_COLUMNS, gateway.workers, '');
  }
}
