/** `pushpoint keys`: the keys that sign for the installation. */
import type { KeyObject } from 'node:crypto';
import type { Command } from 'commander';
import type { ServerKeysView } from '../api/views.ts';
import type { CommandShell, Flags, OperatorContext } from '../command-line.ts';
import { CliError, EXIT } from '../exit-codes.ts';
import type { Output } from '../output/output.ts';
import type { Column } from '../output/table.ts';
import { confirmed, withYes } from './confirmation.ts';
import { DEFAULT, operatorCommand } from './operator-command.ts';
import { publicKeyText, readRootKey, rootKeyIn, signatureText } from './root-key-file.ts';
import { relativeTime } from './times.ts';

const COLUMNS: readonly Column<ServerKeysView['signing'][number]>[] = [
  { title: 'SIGNING KEY', value: (row) => row.publicKey },
  { title: 'STATE', value: (row) => row.state },
];

/** Returns the command for the root key. */
export function addKeysCommands(program: Command, shell: CommandShell): Command {
  const keys = program.command('keys').description('keys that sign for the installation');
  operatorCommand(
    keys,
    shell,
    'show',
    'the fingerprint, the root key and the signing keys',
    async ({ api, out }) => show(out, await api.get<ServerKeysView>('/v1/keys')),
    DEFAULT,
  );
  operatorCommand(
    keys,
    shell,
    'rotate',
    'make the next signing key; it signs when all gateways carry it',
    async ({ api, out }) => show(out, await api.request<ServerKeysView>('POST', '/v1/keys/rotation', {})),
  );
  const retire = operatorCommand(
    keys,
    shell,
    'retire',
    'stop trusting previous signing keys',
    async (context, _, flags) => {
      await confirmed(context, flags, 'Devices will trust previous keys no more. Go on?');
      const { api, out } = context;
      show(out, await api.request<ServerKeysView>('POST', '/v1/keys/retirement', {}));
    },
  );
  withYes(retire);
  return addRoot(keys, shell);
}

function addRoot(keys: Command, shell: CommandShell): Command {
  const root = keys.command('root').description('the key that signs the list of signing keys');
  operatorCommand(
    root,
    shell,
    'sign',
    'sign a pending change with a root key in a file',
    async ({ api, out }, _, flags) => {
      const { pending } = await api.get<ServerKeysView>('/v1/keys');
      if (pending === null) throw new CliError(EXIT.usage, 'No change waits for a signature.');
      show(out, await sendSignatures({ api }, pending, flags));
    },
  )
    .requiredOption('--key <file>', 'root key that the change names, PEM')
    .option('--previous-key <file>', 'root key in force, if the change names another');

  const replace = operatorCommand(
    root,
    shell,
    'replace',
    'replace the root key; the fingerprint of the installation changes',
    async (context, _, flags) => {
      await confirmed(context, flags, 'Enrolment tokens from before will be of no use. Go on?');
      show(context.out, await replaceRoot(context, flags));
    },
  )
    .option(
      '--key <file>',
      'the next root key, PEM; made if there is no such file (default: in the database)',
    )
    .option('--previous-key <file>', 'the root key in force, if it is not in the database');
  withYes(replace);

  root
    .command('sign-document <document>')
    .description('sign server keys that `pushpoint restored` printed; needs no server')
    .requiredOption('--key <file>', 'root key that they name, PEM')
    .action(async (document: string, { key }: { key: string }) => {
      shell.shell.stdout.write(`${await signatureOf(document, readRootKey(key))}\n`);
    });
  return root;
}

async function signatureOf(document: string, key: KeyObject): Promise<string> {
  const { decodeServerKeys, ProtocolError } = await import('../../protocol/index.ts');
  try {
    const { root } = decodeServerKeys(Buffer.from(document, 'base64url'));
    if (Buffer.from(root).toString('base64url') === publicKeyText(key)) return signatureText(key, document);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    throw new CliError(EXIT.usage, 'These are no server keys: give what `pushpoint restored` printed.');
  }
  throw new CliError(EXIT.usage, 'The server keys name another root key than the one in the file.');
}

async function replaceRoot({ api, out }: OperatorContext, flags: Flags): Promise<ServerKeysView> {
  const { key: file } = flags as { key?: string };
  if (file === undefined) {
    const view = await api.request<ServerKeysView>('POST', '/v1/keys/root', { body: {} });
    return view.pending === null ? view : sendSignatures({ api }, view.pending, flags);
  }
  const { key, made } = rootKeyIn(file);
  if (made) out.note(`The next root key is in ${file}. Keep it, and a copy, where no server can read it.`);
  const body = { publicKey: publicKeyText(key) };
  const { pending } = await api.request<ServerKeysView>('POST', '/v1/keys/root', { body });
  if (pending === null) throw new CliError(EXIT.fault, 'The server did not ask for a signature.');
  return sendSignatures({ api }, pending, flags);
}

/** Signs with the keys in the files of `--key` and `--previous-key`. */
async function sendSignatures(
  { api }: Pick<OperatorContext, 'api'>,
  pending: string,
  flags: Flags,
): Promise<ServerKeysView> {
  const { key, previousKey } = flags as { key?: string; previousKey?: string };
  const { decodeServerKeys } = await import('../../protocol/index.ts');
  // A document that breaks a rule is never signed.
  decodeServerKeys(Buffer.from(pending, 'base64url'));
  const body = {
    body: pending,
    ...(key !== undefined && { sig: signatureText(readRootKey(key), pending) }),
    ...(previousKey !== undefined && { previousSig: signatureText(readRootKey(previousKey), pending) }),
  };
  return api.request<ServerKeysView>('POST', '/v1/keys/signatures', { body });
}

function show(out: Output, view: ServerKeysView): void {
  if (out.json) {
    out.document(view);
    return;
  }
  out.fields([
    ['Fingerprint', view.fingerprint],
    ['Server keys', `${view.epoch}.${view.revision}`],
    [
      'Root key',
      `${view.root.publicKey}, ${view.root.kept === 'here' ? 'in the database' : 'kept elsewhere'}`,
    ],
    ['Active since', relativeTime(view.activeSince)],
    ['Waiting for', view.waitingFor.length === 0 ? null : view.waitingFor.join(', ')],
    ['Retire', view.notRetirable ?? 'possible now'],
    ['Pending', view.pending === null ? null : 'a change waits for `pushpoint keys root sign`'],
  ]);
  out.line();
  out.table(COLUMNS, view.signing, '');
}
