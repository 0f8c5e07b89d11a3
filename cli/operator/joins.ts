/** `pushpoint gateways join-token | join-tokens | approve | revoke`: who may be a gateway. */
import type { Command } from 'commander';
import type { JoinRequestView, JoinTokenView } from '../api/views.ts';
import { type CommandShell, durationFlag, type OperatorContext } from '../command-line.ts';
import { CliError, EXIT } from '../exit-codes.ts';
import type { Column } from '../output/table.ts';
import { confirmed, withYes } from './confirmation.ts';
import { limitOf, noteMore, operatorCommand, withLimit } from './operator-command.ts';
import { relativeTime, timeAgo } from './times.ts';

const TOKEN_COLUMNS: readonly Column<JoinTokenView>[] = [
  { title: 'ID', value: (row) => row.id },
  { title: 'GATEWAY', value: (row) => row.gateway },
  { title: 'EXPIRES', value: (row) => (row.revokedAt === null ? relativeTime(row.expiresAt) : 'revoked') },
  { title: 'USED', value: (row) => timeAgo(row.usedAt) },
];

const REQUEST_COLUMNS: readonly Column<JoinRequestView>[] = [
  { title: 'FINGERPRINT', value: (row) => row.fingerprint },
  { title: 'GATEWAY', value: (row) => row.gateway },
  { title: 'ASKED', value: (row) => timeAgo(row.askedAt) },
  { title: 'INSTALLATION', value: (row) => (row.ours ? 'this one' : 'another') },
];

interface JoinRequests {
  installation: string;
  items: JoinRequestView[];
}

export function addJoinCommands(gateways: Command, shell: CommandShell): void {
  addTokens(gateways, shell);
  operatorCommand(
    gateways,
    shell,
    'approve [fingerprint]',
    'let in a gateway that waits; without a fingerprint: list those that do',
    async (context, [fingerprint]) => {
      const waiting = await context.api.get<JoinRequests>('/v1/join-requests');
      if (fingerprint === undefined) return showRequests(context, waiting);
      const { id } = requestOf(waiting, fingerprint);
      const approved = await context.api.request<JoinRequestView>('POST', `/v1/join-requests/${id}/approve`);
      if (context.out.json) return context.out.document(approved);
      context.out.line(`Approved gateway ${approved.gateway} (${approved.fingerprint}).`);
    },
  );
  const revoke = operatorCommand(
    gateways,
    shell,
    'revoke <name>',
    'end the certificates of a gateway at once; its devices go elsewhere',
    async (context, [name = ''], flags) => {
      const { api, out } = context;
      await confirmed(context, flags, `Revoke gateway ${name}?`);
      const revoked = await api.request<{ serials: string[] }>(
        'POST',
        `/v1/gateways/${encodeURIComponent(name)}/revoke`,
      );
      if (out.json) return out.document(revoked);
      const { length } = revoked.serials;
      out.line(`Revoked gateway ${name}: ${length} ${length === 1 ? 'certificate' : 'certificates'}.`);
    },
  );
  withYes(revoke);
}

function addTokens(gateways: Command, shell: CommandShell): void {
  operatorCommand(
    gateways,
    shell,
    'join-token <name>',
    'create a token with which the gateway of this name joins, once',
    async ({ api, out }, [gateway], flags) => {
      const ttl = flags.ttl === undefined ? {} : { ttl: Math.ceil((flags.ttl as number) / 1000) };
      const made = await api.request<JoinTokenView & { token: string }>('POST', '/v1/join-tokens', {
        body: { gateway, ...ttl },
      });
      if (out.json) return out.document(made);
      out.line(made.token);
      if (flags.quiet === true) return;
      out.note(`For gateway ${gateway}, expires ${relativeTime(made.expiresAt)}. It is shown this once.`);
      out.note(`Join with it: PUSHPOINT_JOIN_TOKEN=… pushpoint gateway --name ${gateway}`);
    },
  )
    .option('--ttl <duration>', 'how long it is good (default: 1h)', durationFlag)
    .option('--quiet', 'print just the token');

  withLimit(
    operatorCommand(
      gateways,
      shell,
      'join-tokens',
      'join tokens, without their secrets',
      async ({ api, out }, _, flags) => {
        const page = await api.list<JoinTokenView>('/v1/join-tokens', {}, limitOf(flags));
        if (out.json) return out.document(page);
        out.table(TOKEN_COLUMNS, page.items, 'No join tokens.');
        noteMore(out, page.next);
      },
    ),
  );

  operatorCommand(
    gateways,
    shell,
    'revoke-token <id>',
    'revoke a join token; a gateway that joined with it stays',
    async ({ api, out }, [id]) => {
      await api.request('DELETE', `/v1/join-tokens/${encodeURIComponent(id ?? '')}`);
      if (out.json) out.document({ revoked: id });
      else out.line(`Revoked ${id}.`);
    },
  );
}

function showRequests({ out }: OperatorContext, waiting: JoinRequests): void {
  if (out.json) {
    out.document(waiting);
    return;
  }
  out.table(REQUEST_COLUMNS, waiting.items, 'No gateway waits for approval.');
  out.note(`Fingerprint of this installation: ${waiting.installation}`);
  out.note('Start a gateway with --installation and that fingerprint to have it wait here.');
}

/** The request with the fingerprint that the gateway shows, with or without dashes. Throws `CliError`. */
function requestOf({ items }: JoinRequests, text: string): JoinRequestView {
  const wanted = text.replaceAll('-', '').toLowerCase();
  const found = items.filter(({ id }) => id.startsWith(wanted));
  const [request] = found;
  if (wanted.length >= 32 && found.length === 1 && request) return request;
  throw new CliError(EXIT.usage, `No gateway waits with the fingerprint ${text}.`);
}
