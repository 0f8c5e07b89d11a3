/** Root keys that are kept outside the database: files in PEM form (PKCS #8). */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { serverKeysBytes } from '../../protocol/signing.ts';
import { CliError, EXIT } from '../exit-codes.ts';

/** Throws `CliError` if the file is not one. */
export function readRootKey(file: string): KeyObject {
  try {
    const key = createPrivateKey(readFileSync(file));
    if (key.asymmetricKeyType === 'ed25519') return key;
  } catch (error) {
    const { code = 'not PEM' } = error as NodeJS.ErrnoException;
    throw new CliError(EXIT.usage, `${file} cannot be read as a private key (${code}).`);
  }
  throw new CliError(EXIT.usage, `${file} holds no Ed25519 key.`);
}

/** Readable by this user only. `made`: the file did not exist. */
export function rootKeyIn(file: string): { key: KeyObject; made: boolean } {
  if (existsSync(file)) return { key: readRootKey(file), made: false };
  const { privateKey } = generateKeyPairSync('ed25519');
  const pem = privateKey.export({ format: 'pem', type: 'pkcs8' });
  writeFileSync(file, pem, { mode: 0o600, flag: 'wx', flush: true });
  return { key: privateKey, made: true };
}

/** Raw, base64url. */
export function publicKeyText(key: KeyObject): string {
  return createPublicKey(key).export({ format: 'jwk' }).x as string;
}

/** Of a document, both base64url (PROTOCOL.md, K-2). */
export function signatureText(key: KeyObject, body: string): string {
  return sign(null, serverKeysBytes(Buffer.from(body, 'base64url')), key).toString('base64url');
}
