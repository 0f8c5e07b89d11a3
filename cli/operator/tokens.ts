/** `pushpoint enroll-token` (for devices) and `pushpoint tokens` (for people and programs). */
import { type Command, Option } from 'commander';
import type { ApiTokenView, EnrolmentTokenView } from '../api/views.ts';
import { type CommandShell, countFlag, durationFlag } from '../command-line.ts';
import type { Column } from '../output/table.ts';
import { resolveId } from './lookup.ts';
import { type NamedId, namesOf } from './names.ts';
import { DEFAULT, limitOf, noteMore, operatorCommand, withLimit } from './operator-command.ts';
import { relativeTime, timeAgo } from './times.ts';

const enrolmentColumns = (groups: NamedId): readonly Column<EnrolmentTokenView>[] => [
  { title: 'ID', value: (row) => row.id },
  { title: 'GROUP', value: (row) => groups(row.groupId), shrink: true },
  { title: 'USES LEFT', value: (row) => `${row.usesLeft} of ${row.usesMax}`, align: 'right' },
  { title: 'EXPIRES', value: (row) => (row.revokedAt === null ? relativeTime(row.expiresAt) : 'revoked') },
  { title: 'NOTE', value: (row) => row.note, shrink: true },
];

const API_COLUMNS: readonly Column<ApiTokenView>[] = [
  { title: 'ID', value: (row) => row.id },
  { title: 'NAME', value: (row) => row.name, shrink: true },
  { title: 'ROLE', value: (row) => row.role },
  { title: 'EXPIRES', value: (row) => (row.revokedAt === null ? relativeTime(row.expiresAt) : 'revoked') },
  { title: 'LAST USED', value: (row) => timeAgo(row.lastUsedAt) },
];

export function addTokenCommands(program: Command, shell: CommandShell): void {
  addEnrolmentTokens(program, shell);
  addApiTokens(program, shell);
}

function addEnrolmentTokens(program: Command, shell: CommandShell): void {
  const tokens = program.command('enroll-token').description('tokens that devices enrol with');

  const create = operatorCommand(
    tokens,
    shell,
    'create',
    'create a token (as `enroll-token` alone does)',
    async (context, _, flags) => {
      const { api, out } = context;
      const groupId =
        flags.group === undefined ? undefined : await resolveId(api, 'groups', flags.group as string);
      const body = {
        ...(groupId && { groupId }),
        ...(flags.uses === undefined ? {} : { uses: flags.uses }),
        ...(flags.ttl === undefined ? {} : { ttl: Math.ceil((flags.ttl as number) / 1000) }),
        ...(flags.note === undefined ? {} : { note: flags.note }),
      };
      const made = await api.request<EnrolmentTokenView>('POST', '/v1/enrolment-tokens', { body });
      if (out.json) return out.document(made);
      out.line(made.token);
      if (flags.quiet === true) return;
      out.note(
        `For ${made.usesMax} ${made.usesMax === 1 ? 'device' : 'devices'} of group ${made.groupId}, ` +
          `expires ${relativeTime(made.expiresAt)}. It is shown this once.`,
      );
      out.note(`Enrol with it: pushpoint agent --server ${api.server} --token ${made.token}`);
    },
    DEFAULT,
  );
  create
    .option('--group <group>', 'group that devices join (default: all)')
    .option('--uses <count>', 'devices it is good for (default: 1)', countFlag)
    .option('--ttl <duration>', 'how long it is good (default: 1d)', durationFlag)
    .option('--note <text>', 'what it is for')
    .option('--quiet', 'print just the token');

  withLimit(
    operatorCommand(
      tokens,
      shell,
      'list',
      'tokens, without their secrets',
      async ({ api, out }, _, flags) => {
        const page = await api.list<EnrolmentTokenView>('/v1/enrolment-tokens', {}, limitOf(flags));
        if (out.json) return out.document(page);
        const groups = await namesOf(
          api,
          'groups',
          page.items.map((token) => token.groupId),
        );
        out.table(enrolmentColumns(groups), page.items, 'No enrolment tokens.');
        noteMore(out, page.next);
      },
    ),
  );
  addRevoke(tokens, shell, '/v1/enrolment-tokens');
}

function addApiTokens(program: Command, shell: CommandShell): void {
  const tokens = program
    .command('tokens')
    .description('tokens for people and programs that use the HTTP API');

  operatorCommand(tokens, shell, 'create <name>', 'create a token', async ({ api, out }, [name], flags) => {
    const ttl = flags.ttl === undefined ? {} : { ttl: Math.ceil((flags.ttl as number) / 1000) };
    const made = await api.request<ApiTokenView>('POST', '/v1/tokens', {
      body: { name, role: flags.role, ...ttl },
    });
    if (out.json) return out.document(made);
    out.line(made.token);
    if (flags.quiet !== true) out.note(`Role ${made.role}. It is shown this once.`);
  })
    .addOption(
      new Option('--role <role>', 'what it may do')
        .choices(['viewer', 'operator', 'admin'])
        .makeOptionMandatory(),
    )
    .option('--ttl <duration>', 'how long it is good (default: until revoked)', durationFlag)
    .option('--quiet', 'print just the token');

  withLimit(
    operatorCommand(
      tokens,
      shell,
      'list',
      'tokens, without their secrets',
      async ({ api, out }, _, flags) => {
        const page = await api.list<ApiTokenView>('/v1/tokens', {}, limitOf(flags));
        if (out.json) return out.document(page);
        out.table(API_COLUMNS, page.items, 'No tokens.');
        noteMore(out, page.next);
      },
      DEFAULT,
    ),
  );
  addRevoke(tokens, shell, '/v1/tokens');
}

function addRevoke(parent: Command, shell: CommandShell, path: string): void {
  operatorCommand(parent, shell, 'revoke <id>', 'revoke a token at once', async ({ api, out }, [id]) => {
    await api.request('DELETE', `${path}/${encodeURIComponent(id ?? '')}`);
    if (out.json) out.document({ revoked: id });
    else out.line(`Revoked ${id}.`);
  });
}
