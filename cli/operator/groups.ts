/** `pushpoint groups`. */
import type { Command } from 'commander';
import type { GroupView } from '../api/views.ts';
import type { CommandShell } from '../command-line.ts';
import type { Output } from '../output/output.ts';
import type { Column } from '../output/table.ts';
import { resolveId } from './lookup.ts';
import { DEFAULT, limitOf, noteMore, operatorCommand, withLimit } from './operator-command.ts';

const COLUMNS: readonly Column<GroupView>[] = [
  { title: 'ID', value: (row) => row.id },
  { title: 'NAME', value: (row) => row.name, shrink: true },
  { title: 'PATH', value: (row) => row.path, shrink: true },
  { title: 'DEVICES', value: (row) => row.devices, align: 'right' },
];

const pathOf = (id: string): string => `/v1/groups/${encodeURIComponent(id)}`;

export function addGroupsCommands(program: Command, shell: CommandShell): void {
  const groups = program.command('groups').description('the tree of groups');

  const list = operatorCommand(
    groups,
    shell,
    'list',
    'groups, with the devices directly in each',
    async (context, _, flags) => {
      const { api, out } = context;
      const parent =
        flags.parent === undefined ? undefined : await resolveId(api, 'groups', flags.parent as string);
      const page = await api.list<GroupView>(
        '/v1/groups',
        { parent, text: flags.text as string },
        limitOf(flags),
      );
      if (out.json) return out.document(page);
      out.table(COLUMNS, page.items, 'No groups.');
      noteMore(out, page.next);
    },
    DEFAULT,
  );
  withLimit(list)
    .option('--parent <group>', 'only those directly below this group')
    .option('--text <text>', 'only those with this in their name or id');

  operatorCommand(groups, shell, 'create <name>', 'create a group', async ({ api, out }, [name], flags) => {
    const parentId =
      flags.parent === undefined ? undefined : await resolveId(api, 'groups', flags.parent as string);
    const body = { name, ...(parentId && { parentId }), ...(flags.id === undefined ? {} : { id: flags.id }) };
    showGroup(out, await api.request<GroupView>('POST', '/v1/groups', { body }));
  })
    .option('--parent <group>', 'the group above it (default: all)')
    .option('--id <id>', 'an id of your own');

  operatorCommand(
    groups,
    shell,
    'rename <group> <name>',
    'change its name',
    async ({ api, out }, [text, name]) => {
      const id = await resolveId(api, 'groups', text ?? '');
      showGroup(out, await api.request<GroupView>('PATCH', pathOf(id), { body: { name } }));
    },
  );

  operatorCommand(
    groups,
    shell,
    'move <group> <parent>',
    'move it below another group',
    async ({ api, out }, [text, parent]) => {
      const id = await resolveId(api, 'groups', text ?? '');
      const parentId = await resolveId(api, 'groups', parent ?? '');
      showGroup(out, await api.request<GroupView>('PATCH', pathOf(id), { body: { parentId } }));
    },
  );

  operatorCommand(groups, shell, 'delete <group>', 'delete an empty group', async ({ api, out }, [text]) => {
    const id = await resolveId(api, 'groups', text ?? '');
    await api.request('DELETE', pathOf(id));
    if (out.json) out.document({ deleted: id });
    else out.line(`Deleted ${id}.`);
  });
}

function showGroup(out: Output, group: GroupView): void {
  if (out.json) out.document(group);
  else
    out.fields([
      ['Group', group.id],
      ['Name', group.name],
      ['Path', group.path],
    ]);
}
