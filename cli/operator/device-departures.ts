/** `pushpoint devices move-to | split`: devices that leave, and may enrol elsewhere or as another one. */
import type { Command } from 'commander';
import type { DeviceView, EnrolmentTokenView } from '../api/views.ts';
import type { CommandShell, Flags, OperatorContext } from '../command-line.ts';
import { CliError, EXIT } from '../exit-codes.ts';
import { forEachAtOnce } from '../for-each-at-once.ts';
import { confirmed, withYes } from './confirmation.ts';
import { resolveId } from './lookup.ts';
import { operatorCommand } from './operator-command.ts';

/** Devices moved at the same time. */
const AT_ONCE = 16;

export function addMoveTo(devices: Command, shell: CommandShell): void {
  const moveTo = operatorCommand(
    devices,
    shell,
    'move-to [device]',
    'move a device, or a whole group, to another installation',
    async (context, [text], flags) => {
      const { api, out } = context;
      const ids = await chosen(context, text, flags);
      const body = { url: flags.url, fingerprint: flags.fingerprint };
      const what = text === undefined ? `${ids.length} devices` : ids.join();
      await confirmed(
        context,
        flags,
        `Move ${what} to ${flags.url}? Their open commands end, and they leave this installation for good.`,
      );
      await forEachAtOnce(ids, AT_ONCE, (id) =>
        api.request('POST', `/v1/devices/${encodeURIComponent(id)}/move-to`, { body }),
      );
      if (out.json) out.document({ moved: ids, to: body });
      else out.line(`Moved ${what} to ${flags.url}.`);
    },
  );
  withYes(moveTo)
    .option('--group <group>', 'all devices of this group and its subgroups, in place of one')
    .requiredOption('--url <url>', 'API of the other installation')
    .requiredOption('--fingerprint <fingerprint>', 'fingerprint of the other installation');
}

export function addSplit(devices: Command, shell: CommandShell): void {
  const split = operatorCommand(
    devices,
    shell,
    'split <device>',
    'delete a device that has copies; one enrols again with a new key',
    async (context, [text], flags) => {
      const { api, out } = context;
      const id = await resolveId(api, 'devices', text ?? '');
      const path = `/v1/devices/${encodeURIComponent(id)}`;
      const { name, groupId } = await api.get<DeviceView>(path);
      await confirmed(context, flags, `Split ${id}? Its open commands end, and all its copies are shut out.`);
      await api.request('POST', `${path}/split`);
      const body = { groupId, uses: 1, note: `in place of ${id}` };
      const made = await api.request<EnrolmentTokenView>('POST', '/v1/enrolment-tokens', { body });
      if (out.json) return out.document({ split: id, token: made });
      out.line(made.token);
      out.note(
        `Split ${id}: empty the state folder of the machine that is to be ${name}, and start its agent`,
      );
      out.note(`with this token, which is good for one device of group ${groupId} and shown this once.`);
    },
  );
  withYes(split);
}

async function chosen(
  { api }: OperatorContext,
  text: string | undefined,
  flags: Flags,
): Promise<readonly string[]> {
  if ((text === undefined) === (flags.group === undefined))
    throw new CliError(EXIT.usage, 'Name either a device or --group.');
  if (text !== undefined) return [await resolveId(api, 'devices', text)];
  const group = await resolveId(api, 'groups', flags.group as string);
  const page = await api.list<DeviceView>('/v1/devices', { group }, Number.MAX_SAFE_INTEGER);
  return page.items.map(({ id }) => id);
}
