/**
 * The identity of a gateway or a server, as files for this user only. `identity.json` holds key and
 * certificate; `certificate.pem` is a copy of the certificate for people and metrics; `joining.json` is a
 * request without an answer.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { GatewayIdentity, PendingJoin } from './identity.ts';

/** A file that this program did not write, or that is damaged. */
export class IdentityFileError extends Error {
  override readonly name = 'IdentityFileError';
}

export class IdentityFiles {
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  get certificateFile(): string {
    return join(this.folder, 'certificate.pem');
  }

  get identityFile(): string {
    return join(this.folder, 'identity.json');
  }

  get #pendingFile(): string {
    return join(this.folder, 'joining.json');
  }

  /** `null` where there is none. Throws `IdentityFileError`. */
  read(): GatewayIdentity | null {
    return read<GatewayIdentity>(this.identityFile, [
      'gateway',
      'serial',
      'macKey',
      'privateKey',
      'installation',
    ]);
  }

  keep(identity: GatewayIdentity): void {
    write(this.certificateFile, identity.certificate);
    write(this.identityFile, toJson(identity));
    rmSync(this.#pendingFile, { force: true });
  }

  /** What was revoked or is over is of no use: a restart has to join again. */
  drop(): void {
    for (const file of [this.identityFile, this.certificateFile]) rmSync(file, { force: true });
  }

  /** Throws `IdentityFileError`. */
  readPending(): PendingJoin | null {
    return read<PendingJoin>(this.#pendingFile, ['id', 'gateway', 'body', 'sealPair', 'privateKey']);
  }

  keepPending(pending: PendingJoin): void {
    write(this.#pendingFile, toJson(pending));
  }

  dropPending(): void {
    rmSync(this.#pendingFile, { force: true });
  }
}

/** Replaces the file as a whole, synced to the disk. */
function write(file: string, text: string): void {
  const draft = `${file}.${randomBytes(8).toString('hex')}`;
  writeFileSync(draft, text, { mode: 0o600, flag: 'wx', flush: true });
  renameSync(draft, file);
}

function read<T>(file: string, members: readonly string[]): T | null {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  try {
    const value = JSON.parse(text, revive) as Record<string, unknown> | null;
    if (value && members.every((member) => member in value)) return value as T;
  } catch {
    // Reported below.
  }
  throw new IdentityFileError(`${file} is damaged: restore it, or delete it and join again`);
}

function toJson(value: object): string {
  // `this` holds the original member: `toJSON` has already turned a Buffer into an array.
  function replace(this: Record<string, unknown>, key: string): unknown {
    const member = this[key];
    return member instanceof Uint8Array ? { base64: Buffer.from(member).toString('base64') } : member;
  }
  return `${JSON.stringify(value, replace, 2)}\n`;
}

function revive(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !('base64' in value)) return value;
  return new Uint8Array(Buffer.from(String(value.base64), 'base64'));
}
