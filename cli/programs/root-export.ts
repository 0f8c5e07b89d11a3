/** `pushpoint keys root export`: moves the root key from the database into a file. */
import { createPrivateKey } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import type { SecretBox } from '../../admin-api/at-rest/secret-box.ts';
import { loadInstallation } from '../../admin-api/installation.ts';
import { pairOf } from '../../admin-api/keys/key-vault.ts';
import { ServerKeys } from '../../admin-api/keys/server-keys.ts';
import type { Store } from '../../admin-api/store/store.ts';
import { toBase64url } from '../../protocol/index.ts';
import type { Flags } from '../command-line.ts';
import { loadConfig } from '../config/load.ts';
import { CliError, EXIT, type ExitCode } from '../exit-codes.ts';
import type { Shell } from '../shell.ts';
import { onDatabase } from './on-database.ts';

export async function runRootExport(shell: Shell, flags: Flags): Promise<ExitCode> {
  const config = loadConfig('root-export', { flags, env: shell.env });
  const { key: file } = flags as { key: string };
  const root = await onDatabase(config, (store, box) => moveRoot(store, box, file));
  shell.stdout.write(
    `The root key ${root} is in ${file}, and no more in the database. Keep the file, and a copy of it, ` +
      'where no server can read them. Earlier backups still hold it. The fingerprint of the installation ' +
      'stays. Changes of its keys wait for `pushpoint keys root sign` from now on.\n',
  );
  return EXIT.ok;
}

/** It is deleted once the file can be read. Resolves with the public part. */
async function moveRoot(store: Store, box: SecretBox, file: string): Promise<string> {
  const { epoch } = await loadInstallation(store.meta);
  const serverKeys = await ServerKeys.load({ meta: store.meta, box, epoch });
  const { root } = serverKeys.keys;
  const found = await serverKeys.vault().find('root key', root);
  if (found === null) {
    throw new CliError(EXIT.usage, 'The root key is not in the database: it is kept elsewhere already.');
  }
  keep(file, found.privateKey.export({ format: 'pem', type: 'pkcs8' }) as string);
  const kept = pairOf(createPrivateKey(readFileSync(file)));
  if (Buffer.compare(kept.publicKey, root) !== 0) throw new Error(`${file} does not hold what was written`);
  await store.transaction(async (tx) => {
    await serverKeys.vault(tx.meta).forget('root key', root);
    const detail = { root: toBase64url(root) };
    const entry = { at: Date.now(), actor: 'system', action: 'keys.root-exported', subject: 'root key' };
    await tx.audit.append({ ...entry, detail });
  });
  return toBase64url(root);
}

function keep(file: string, pem: string): void {
  try {
    writeFileSync(file, pem, { mode: 0o600, flag: 'wx', flush: true });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why = code === 'EEXIST' ? 'it exists already' : String(code);
    throw new CliError(EXIT.usage, `${file} cannot be written (${why}). Nothing was changed.`);
  }
}
