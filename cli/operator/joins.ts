/** `pushpoint gateways` and `servers`: `join-token`, `approve`, `revoke`: who may be one. */
import type { Command } from 'commander';
import type { JoinTokenView } from '../api/views.ts';
import { type CommandShell, durationFlag, type OperatorContext } from '../command-line.ts';
import { CliError, EXIT } from '../exit-codes.ts';
import type { Column } from '../output/table.ts';
import { confirmed, withYes } from './confirmation.ts';
import { limitOf, noteMore, operatorCommand, withLimit } from './operator-command.ts';
import { relativeTime, timeAgo } from './times.ts';

/** What joins. */
export interface Joining {
  /** The member of documents that names it, and the word for it. */
  who: 'gateway' | 'server';
  paths: { tokens: string; requests: string; programs: string };
  /** How it starts with a token. */
  start: (name: string) => string;
  /** What an operator is told before and after. */
  approve: string;
  revoke: string;
  revoked?: string;
}

interface Token extends Omit<JoinTokenView, 'gateway'> {
  gateway?: string;
  server?: string;
}

interface Request {
  id: string;
  fingerprint: string;
  gateway?: string;
  server?: string;
  askedAt: string;
  ours: boolean;
}

interface JoinRequests {
  installation: string;
  items: Request[];
}

const GATEWAYS: Joining = {
  who: 'gateway',
  paths: { tokens: '/v1/join-tokens', requests: '/v1/join-requests', programs: '/v1/gateways' },
  start: (name) => `pushpoint gateway --name ${name}`,
  approve: 'let in a gateway that waits; without a fingerprint: list those that do',
  revoke: 'end the certificates of a gateway at once; its devices go elsewhere',
};

export function addJoinCommands(gateways: Command, shell: CommandShell): void {
  addJoining(gateways, shell, GATEWAYS);
}

/** Below `pushpoint gateways` or `pushpoint servers`. */
export function addJoining(parent: Command, shell: CommandShell, joining: Joining): void {
  addTokens(parent, shell, joining);
  addApproval(parent, shell, joining);
  addRevocation(parent, shell, joining);
}

function addApproval(parent: Command, shell: CommandShell, joining: Joining): void {
  const { who, paths } = joining;
  operatorCommand(parent, shell, 'approve [fingerprint]', joining.approve, async (context, [fingerprint]) => {
    const waiting = await context.api.get<JoinRequests>(paths.requests);
    if (fingerprint === undefined) return showRequests(context, joining, waiting);
    const { id } = requestOf(joining, waiting, fingerprint);
    const approved = await context.api.request<Request>('POST', `${paths.requests}/${id}/approve`);
    if (context.out.json) return context.out.document(approved);
    context.out.line(`Approved ${who} ${approved[who]} (${approved.fingerprint}).`);
  });
}

function addRevocation(parent: Command, shell: CommandShell, joining: Joining): void {
  const { who, paths } = joining;
  const revoke = operatorCommand(
    parent,
    shell,
    'revoke <name>',
    joining.revoke,
    async (context, [name = ''], flags) => {
      const { api, out } = context;
      await confirmed(context, flags, `Revoke ${who} ${name}?`);
      const revoked = await api.request<{ serials: string[] }>(
        'POST',
        `${paths.programs}/${encodeURIComponent(name)}/revoke`,
      );
      if (out.json) return out.document(revoked);
      const { length } = revoked.serials;
      out.line(`Revoked ${who} ${name}: ${length} ${length === 1 ? 'certificate' : 'certificates'}.`);
      if (joining.revoked !== undefined) out.note(joining.revoked);
    },
  );
  withYes(revoke);
}

function addTokens(parent: Command, shell: CommandShell, { who, paths, start }: Joining): void {
  operatorCommand(
    parent,
    shell,
    'join-token <name>',
    `create a token with which the ${who} of this name joins, once`,
    async ({ api, out }, [name = ''], flags) => {
      const ttl = flags.ttl === undefined ? {} : { ttl: Math.ceil((flags.ttl as number) / 1000) };
      const made = await api.request<Token & { token: string }>('POST', paths.tokens, {
        body: { [who]: name, ...ttl },
      });
      if (out.json) return out.document(made);
      out.line(made.token);
      if (flags.quiet === true) return;
      out.note(`For ${who} ${name}, expires ${relativeTime(made.expiresAt)}. It is shown this once.`);
      out.note(`Join with it: PUSHPOINT_JOIN_TOKEN=… ${start(name)}`);
    },
  )
    .option('--ttl <duration>', 'how long it is good (default: 1h)', durationFlag)
    .option('--quiet', 'print just the token');

  withLimit(
    operatorCommand(
      parent,
      shell,
      'join-tokens',
      'join tokens, without their secrets',
      async ({ api, out }, _, flags) => {
        const page = await api.list<Token>(paths.tokens, {}, limitOf(flags));
        if (out.json) return out.document(page);
        out.table(tokenColumns(who), page.items, 'No join tokens.');
        noteMore(out, page.next);
      },
    ),
  );

  operatorCommand(
    parent,
    shell,
    'revoke-token <id>',
    `revoke a join token; a ${who} that joined with it stays`,
    async ({ api, out }, [id]) => {
      await api.request('DELETE', `/v1/join-tokens/${encodeURIComponent(id ?? '')}`);
      if (out.json) out.document({ revoked: id });
      else out.line(`Revoked ${id}.`);
    },
  );
}

function tokenColumns(who: Joining['who']): readonly Column<Token>[] {
  return [
    { title: 'ID', value: (row) => row.id },
    { title: who.toUpperCase(), value: (row) => row[who] ?? '' },
    { title: 'EXPIRES', value: (row) => (row.revokedAt === null ? relativeTime(row.expiresAt) : 'revoked') },
    { title: 'USED', value: (row) => timeAgo(row.usedAt) },
  ];
}

function requestColumns(who: Joining['who']): readonly Column<Request>[] {
  return [
    { title: 'FINGERPRINT', value: (row) => row.fingerprint },
    { title: who.toUpperCase(), value: (row) => row[who] ?? '' },
    { title: 'ASKED', value: (row) => timeAgo(row.askedAt) },
    { title: 'INSTALLATION', value: (row) => (row.ours ? 'this one' : 'another') },
  ];
}

function showRequests({ out }: OperatorContext, { who }: Joining, waiting: JoinRequests): void {
  if (out.json) {
    out.document(waiting);
    return;
  }
  out.table(requestColumns(who), waiting.items, `No ${who} waits for approval.`);
  out.note(`Fingerprint of this installation: ${waiting.installation}`);
  out.note(`Start a ${who} with --installation and that fingerprint to have it wait here.`);
}

/** The request with the fingerprint that the program shows, with or without dashes. Throws `CliError`. */
function requestOf({ who }: Joining, { items }: JoinRequests, text: string): Request {
  const wanted = text.replaceAll('-', '').toLowerCase();
  const found = items.filter(({ id }) => id.startsWith(wanted));
  const [request] = found;
  if (wanted.length >= 32 && found.length === 1 && request) return request;
  throw new CliError(EXIT.usage, `No ${who} waits with the fingerprint ${text}.`);
}
