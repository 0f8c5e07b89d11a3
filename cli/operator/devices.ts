/** `pushpoint devices`. */
import { type Command, Option } from 'commander';
import { EXECUTION_STATES } from '../../protocol/execution-states.ts';
import type { ApiClient } from '../api/api-client.ts';
import type { DeviceView, ExecutionView, ExplanationView, PlacementView } from '../api/views.ts';
import type { CommandShell } from '../command-line.ts';
import { CliError, EXIT } from '../exit-codes.ts';
import type { Output } from '../output/output.ts';
import { paintState } from '../output/style.ts';
import type { Column } from '../output/table.ts';
import { confirmed, withYes } from './confirmation.ts';
import { addMoveTo, addSplit } from './device-departures.ts';
import { DEVICE_EXECUTION_COLUMNS } from './execution-table.ts';
import { resolveId } from './lookup.ts';
import { type NamedId, namesOf } from './names.ts';
import { DEFAULT, limitOf, noteMore, operatorCommand, wantsData, withLimit } from './operator-command.ts';
import { spanOf, withSpan } from './time-flags.ts';
import { timeAgo } from './times.ts';

const columns = (groups: NamedId): readonly Column<DeviceView>[] => [
  { title: 'ID', value: (row) => row.id },
  { title: 'NAME', value: (row) => row.name, shrink: true },
  { title: 'GROUP', value: (row) => groups(row.groupId), shrink: true },
  { title: 'STATE', value: (row) => row.state, paint: (cell, _, style) => paintState(cell, style) },
  { title: 'SINCE', value: (row) => since(row) },
  { title: 'GATEWAY', value: (row) => row.gateway },
  { title: 'SOFTWARE', value: (row) => row.software, shrink: true },
];

export function addDevicesCommands(program: Command, shell: CommandShell): void {
  const devices = program
    .command('devices')
    .description('list, move and block devices; ask why one did not act');

  const list = operatorCommand(
    devices,
    shell,
    'list',
    'devices',
    async ({ api, out }, _, flags) => {
      const group =
        flags.group === undefined ? undefined : await resolveId(api, 'groups', flags.group as string);
      const query = {
        group,
        state: flags.state as string,
        gateway: flags.gateway as string,
        text: flags.text as string,
      };
      const page = await api.list<DeviceView>('/v1/devices', query, limitOf(flags));
      if (out.json) return out.document(page);
      const groups = await namesOf(
        api,
        'groups',
        page.items.map((device) => device.groupId),
      );
      out.table(columns(groups), page.items, 'No devices.');
      noteMore(out, page.next);
    },
    DEFAULT,
  );
  withLimit(list)
    .option('--group <group>', 'only of this group and its subgroups')
    .addOption(new Option('--state <state>', 'only these').choices(['connected', 'disconnected', 'blocked']))
    .option('--gateway <name>', 'only those connected to this gateway')
    .option('--text <text>', 'only those with this in their name or id');

  operatorCommand(devices, shell, 'show <device>', 'one device', async ({ api, out }, [text]) => {
    const id = await resolveId(api, 'devices', text ?? '');
    const path = `/v1/devices/${encodeURIComponent(id)}`;
    const [device, placement] = await Promise.all([
      api.get<DeviceView>(path),
      api.get<PlacementView>(`${path}/placement`),
    ]);
    if (out.json) return out.document({ ...device, placement });
    await showDevice(out, api, device, placement);
  });

  const change = (usage: string, description: string, body: (group: string | undefined) => unknown): void => {
    operatorCommand(devices, shell, usage, description, async ({ api, out }, [text, group]) => {
      const id = await resolveId(api, 'devices', text ?? '');
      const groupId = group === undefined ? undefined : await resolveId(api, 'groups', group);
      const path = `/v1/devices/${encodeURIComponent(id)}`;
      await showDevice(out, api, await api.request<DeviceView>('PATCH', path, { body: body(groupId) }));
    });
  };
  change('move <device> <group>', 'move a device to another group', (groupId) => ({ groupId }));
  change('block <device>', 'turn a device away until it is unblocked', () => ({ blocked: true }));
  change('unblock <device>', 'admit a blocked device again', () => ({ blocked: false }));

  operatorCommand(
    devices,
    shell,
    'rename <device> <name>',
    'change its name',
    async ({ api, out }, [text, name]) => {
      const id = await resolveId(api, 'devices', text ?? '');
      const path = `/v1/devices/${encodeURIComponent(id)}`;
      await showDevice(out, api, await api.request<DeviceView>('PATCH', path, { body: { name } }));
    },
  );

  const remove = operatorCommand(
    devices,
    shell,
    'delete <device>',
    'delete a device; it must enrol again',
    async (context, [text], flags) => {
      const { api, out } = context;
      const id = await resolveId(api, 'devices', text ?? '');
      await confirmed(context, flags, `Forget ${id}? Its open commands end, and it must enrol again.`);
      await api.request('DELETE', `/v1/devices/${encodeURIComponent(id)}`);
      if (out.json) out.document({ deleted: id });
      else out.line(`Deleted ${id}.`);
    },
  );
  withYes(remove);
  addMoveTo(devices, shell);
  addSplit(devices, shell);
  operatorCommand(
    devices,
    shell,
    'release <device>',
    'forget what is known of its copies, and send held commands',
    async ({ api, out }, [text]) => {
      const id = await resolveId(api, 'devices', text ?? '');
      const path = `/v1/devices/${encodeURIComponent(id)}/release`;
      await showDevice(out, api, await api.request<DeviceView>('POST', path));
    },
  );

  operatorCommand(
    devices,
    shell,
    'why <device> [command]',
    'why a command, by default the newest, has not run yet',
    async ({ api, out }, [text, command]) => {
      const id = await resolveId(api, 'devices', text ?? '');
      const path = `/v1/devices/${encodeURIComponent(id)}`;
      const newest = async () =>
        (await api.list<ExecutionView>(`${path}/executions`, {}, 1)).items[0]?.commandId;
      const wanted = command ?? (await newest());
      if (wanted === undefined) throw new CliError(EXIT.refused, `There is no command for ${id}.`);
      const why = await api.get<ExplanationView>(`${path}/why`, { command: wanted });
      if (out.json) out.document(why);
      else if (command === undefined) out.line(`${wanted}: ${why.sentence}`);
      else out.line(why.sentence);
    },
  );

  const executions = operatorCommand(
    devices,
    shell,
    'executions <device>',
    'commands of a device and their outcomes',
    async ({ api, out }, [text], flags) => {
      const id = await resolveId(api, 'devices', text ?? '');
      const path = `/v1/devices/${encodeURIComponent(id)}/executions`;
      const query = { state: flags.state as string, data: wantsData(flags), ...spanOf(flags) };
      const page = await api.list<ExecutionView>(path, query, limitOf(flags));
      if (out.json) return out.document(page);
      out.table(DEVICE_EXECUTION_COLUMNS, page.items, 'No executions.');
      noteMore(out, page.next);
    },
  );
  withSpan(withLimit(executions), 'issued')
    .option(
      '--data',
      'include what the devices returned, for any number; up to 100 executions include it anyway',
    )
    .addOption(new Option('--state <state>', 'only these').choices([...EXECUTION_STATES]));
}

function since(device: DeviceView): string {
  const times = {
    connected: device.connectedAt,
    disconnected: device.disconnectedAt,
    blocked: device.blockedAt,
  };
  return timeAgo(times[device.state]);
}

async function showDevice(
  out: Output,
  api: ApiClient,
  device: DeviceView,
  placement?: PlacementView,
): Promise<void> {
  if (out.json) return out.document(device);
  const groups = await namesOf(api, 'groups', [device.groupId]);
  out.fields([
    ['Device', device.id],
    ['Name', device.name],
    ['Group', groups(device.groupId)],
    ['State', `${device.state} (${since(device)})`],
    ...copies(device),
    ['Gateway', device.gateway === null ? null : `${device.gateway} (worker ${device.worker})`],
    ['Address', device.address],
    ['Software', `${device.software} on ${device.platform}`],
    ['Handles', device.caps.join(', ')],
    ['Policy', device.policy],
    ['Compliance', device.compliance],
    ['Last close', device.closeCode === null ? null : `${device.closeCode} ${device.closeReason ?? ''}`],
    ['Enrolled', timeAgo(device.createdAt)],
    ...(placement === undefined ? [] : placementFields(placement)),
  ]);
}

/** A single one may be a program that was frozen; from two on, two programs are running. */
function copies({ displaced, cloned }: DeviceView): [string, string][] {
  const fields: [string, string][] = [];
  if (cloned !== null) {
    const gateways = [...new Set(cloned.runs.map(({ gateway }) => gateway))].join(' and ');
    const proof = `two programs with its key answered at ${gateways}, ${timeAgo(cloned.since)}`;
    fields.push(['Cloned', `${proof}; split or release it`]);
  }
  if (displaced === null || displaced.sessions < 2) return fields;
  const { sessions, lastAt, addresses } = displaced;
  const from = addresses.length === 0 ? '' : `, from ${addresses.join(' and ')}`;
  fields.push([
    'Copies',
    `two programs use this device's key: they ended ${sessions} sessions of each other, last ` +
      `${timeAgo(lastAt)}${from}`,
  ]);
  return fields;
}

function placementFields({ sentence, data }: PlacementView): [string, string | null][] {
  const list = data.list.map(({ name, state, ms }) => {
    const notes = [state === 'up' ? null : state, ms == null ? null : `${ms} ms`].filter(
      (note) => note !== null,
    );
    return notes.length === 0 ? name : `${name} (${notes.join(', ')})`;
  });
  return [
    ['Placement', sentence],
    ['Gateways', list.length === 0 ? null : list.join(', ')],
  ];
}
