import { randomBytes } from 'node:crypto';
import { existsSync, linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { StoreSettingsError } from '../store/store-settings-error.ts';
import { KeyBox, PlainBox, type SecretBox } from './secret-box.ts';

const KEY_BYTES = 32;

/**
 * The secret box for the key file that the settings name. Without one it uses `ownFile`, which it creates if
 * missing, for this user only; `null`: nothing is encrypted. Throws `StoreSettingsError`.
 */
export function secretBox(settings: { keyFile?: string | undefined; ownFile: string | null }): SecretBox {
  const { keyFile, ownFile } = settings;
  if (keyFile !== undefined) return readKeyFile(keyFile);
  if (ownFile === null) return new PlainBox();
  if (!existsSync(ownFile)) writeKeyFile(ownFile, randomBytes(KEY_BYTES));
  return readKeyFile(ownFile);
}

/**
 * Stores the key that an administration server brought, for this user only. Throws `StoreSettingsError` if
 * the file holds another one.
 */
export function storeKey(file: string, key: Uint8Array): void {
  try {
    writeKeyFile(file, key);
  } catch (error) {
    throw new StoreSettingsError(`${file} cannot be written (${(error as NodeJS.ErrnoException).code})`);
  }
  const stored = readKeyFile(file).sharedKey();
  if (stored && Buffer.from(stored).equals(key)) return;
  throw new StoreSettingsError(
    `${file} holds another key than this installation uses: move the file away, or name another one`,
  );
}

function readKeyFile(file: string): SecretBox {
  let text: string;
  try {
    text = readFileSync(file, 'utf8').trim();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new StoreSettingsError(`${file} cannot be read (${code})`);
  }
  const key = Buffer.from(text, /^[0-9a-f]{64}$/i.test(text) ? 'hex' : 'base64');
  if (key.length === KEY_BYTES) return new KeyBox(key);
  throw new StoreSettingsError(
    `${file} holds no key: expected ${KEY_BYTES} random bytes as text, as from ` +
      `openssl rand -base64 ${KEY_BYTES}`,
  );
}

/**
 * Unless the file is there. It appears as a whole: a program that is killed meanwhile leaves no empty key.
 */
function writeKeyFile(file: string, key: Uint8Array): void {
  const draft = `${file}.${randomBytes(8).toString('hex')}`;
  try {
    const text = `${Buffer.from(key).toString('base64')}\n`;
    writeFileSync(draft, text, { mode: 0o600, flag: 'wx', flush: true });
    linkSync(draft, file);
  } catch (error) {
    // It is there, or another program in the same folder was faster.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    rmSync(draft, { force: true });
  }
}
