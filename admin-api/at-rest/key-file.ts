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
  if (!existsSync(ownFile)) makeKeyFile(ownFile);
  return readKeyFile(ownFile);
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

/** The file appears as a whole: a program that is killed meanwhile leaves no empty key. */
function makeKeyFile(file: string): void {
  const draft = `${file}.${randomBytes(8).toString('hex')}`;
  try {
    const text = `${randomBytes(KEY_BYTES).toString('base64')}\n`;
    writeFileSync(draft, text, { mode: 0o600, flag: 'wx', flush: true });
    linkSync(draft, file);
  } catch (error) {
    // Another program in the same folder was faster.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    rmSync(draft, { force: true });
  }
}
