/** `pushpoint servers`: administration servers that joined, and who may join. */
import type { Command } from 'commander';
import type { ServerView } from '../api/views.ts';
import type { CommandShell } from '../command-line.ts';
import type { Column } from '../output/table.ts';
import { addJoining, type Joining } from './joins.ts';
import { DEFAULT, operatorCommand } from './operator-command.ts';
import { relativeTime } from './times.ts';

const COLUMNS: readonly Column<ServerView>[] = [
  { title: 'NAME', value: (row) => row.name },
  { title: 'STATE', value: (row) => stateOf(row) },
  { title: 'SERIAL', value: (row) => row.certificate.serial, shrink: true },
  { title: 'ENDS', value: (row) => relativeTime(row.certificate.expiresAt) },
];

const SERVERS: Joining = {
  who: 'server',
  paths: {
    tokens: '/v1/server-join-tokens',
    requests: '/v1/server-join-requests',
    programs: '/v1/servers',
  },
  start: (name) => `pushpoint admin --server-name ${name}`,
  approve:
    'let in a server that waits, with the key of the secrets; without a fingerprint: list those that do',
  revoke: 'end the certificates of an administration server; it ends if it runs',
  revoked:
    'It had the key of the secrets and the passwords of database and Redis: change the passwords, then run ' +
    'pushpoint keys rotate.',
};

export function addServersCommands(program: Command, shell: CommandShell): void {
  const servers = program.command('servers').description('administration servers on other machines');
  operatorCommand(
    servers,
    shell,
    'list',
    'administration servers that joined, and how long their certificates last',
    async ({ api, out }) => {
      const found = await api.get<{ items: ServerView[] }>('/v1/servers');
      if (out.json) return out.document(found);
      out.table(COLUMNS, found.items, 'No server joined.');
    },
    DEFAULT,
  );
  addJoining(servers, shell, SERVERS);
}

function stateOf({ running, certificate: { revokedAt } }: ServerView): string {
  if (revokedAt !== null) return running ? 'revoked, and runs' : 'revoked';
  return running ? 'runs' : 'away';
}
