/** `pushpoint tunnel` opens a tunnel; `pushpoint tunnels` lists, shows and closes tunnels. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { TunnelView } from '../api/views.ts';
import { type CommandShell, durationFlag, portFlag } from '../command-line.ts';
import type { LocalAddress } from '../tunnel/listen.ts';
import { resolveId } from './lookup.ts';
import { namesOf } from './names.ts';
import { DEFAULT, limitOf, noteMore, operatorCommand, withLimit } from './operator-command.ts';
import { spanOf, withSpan } from './time-flags.ts';
import { showTunnel, tunnelColumns } from './tunnel-tables.ts';

const pathOf = (id: string | undefined): string => `/v1/tunnels/${encodeURIComponent(id ?? '')}`;

export function addTunnelCommands(program: Command, shell: CommandShell): void {
  operatorCommand(
    program,
    shell,
    'tunnel <device> <port>',
    'reach a port of a device, by id or name',
    async (context, [device, port], flags) => {
      const { openTunnel } = await import('./open-tunnel.ts');
      return openTunnel(context, device ?? '', portFlag(port ?? ''), flags);
    },
  )
    .option(
      '-L, --listen <address>',
      'local port to listen on, or host:port (default: a free one)',
      addressFlag,
    )
    .option('--stdio', 'one connection over standard input and output, for ProxyCommand')
    .option(
      '--host <host>',
      'host that the device connects to, if its configuration allows it (default: itself)',
    )
    .option('--reason <text>', 'why, for the audit trail')
    .option('--time-limit <duration>', 'how long it may last', durationFlag);

  const tunnels = program.command('tunnels').description('list, show and close tunnels');
  const list = operatorCommand(
    tunnels,
    shell,
    'list',
    'the newest tunnels',
    async ({ api, out }, _, flags) => {
      const device = flags.device as string | undefined;
      const query = {
        state: flags.state as string,
        device: device === undefined ? undefined : await resolveId(api, 'devices', device),
        ...spanOf(flags),
      };
      const page = await api.list<TunnelView>('/v1/tunnels', query, limitOf(flags));
      if (out.json) return out.document(page);
      const devices = await namesOf(
        api,
        'devices',
        page.items.map((tunnel) => tunnel.deviceId),
      );
      out.table(tunnelColumns(devices), page.items, 'No tunnels.');
      noteMore(out, page.next);
    },
    DEFAULT,
  );
  withSpan(withLimit(list), 'opened')
    .option('--device <device>', 'only those to this device, by id or name')
    .addOption(new Option('--state <state>', 'only these').choices(['live', 'opening', 'open', 'ended']));

  operatorCommand(tunnels, shell, 'show <id>', 'one tunnel', async ({ api, out }, [id]) => {
    const tunnel = await api.get<TunnelView>(pathOf(id));
    showTunnel(out, tunnel, await namesOf(api, 'devices', out.json ? [] : [tunnel.deviceId]));
  });

  operatorCommand(
    tunnels,
    shell,
    'close <id>',
    'end a tunnel; both ends learn why',
    async ({ api, out }, [id]) => {
      const tunnel = await api.request<TunnelView>('POST', `${pathOf(id)}/close`);
      if (out.json) return out.document(tunnel);
      out.line(`${tunnel.id} ended: ${tunnel.end?.reason ?? '-'}`);
    },
  );
}

function addressFlag(text: string): LocalAddress {
  const match = /^(?:(.+):)?(\d{1,5})$/.exec(text);
  const port = Number(match?.[2]);
  if (!match || port > 65_535) throw new InvalidArgumentError('Expected a port, or host:port.');
  return { host: match[1]?.replace(/^\[(.*)\]$/, '$1') ?? '127.0.0.1', port };
}
