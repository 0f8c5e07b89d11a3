/**
 * Folders and files that settings name. They are tried before anything starts, and errors are reported in a
 * sentence.
 */
import { accessSync, constants, rmSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { makeFolder } from '../../device/storage/file-mode.ts';
import { CliError, EXIT } from '../exit-codes.ts';

const REASONS: Record<string, string> = {
  EACCES: 'this user may not',
  EPERM: 'this user may not',
  EROFS: 'the file system is read-only',
  ENOSPC: 'there is no space left',
  EDQUOT: 'there is no space left',
  ENOENT: 'there is no such folder, and none can be made there',
  ENOTDIR: 'a part of the path is a file',
};

/**
 * Creates the folder if it is missing, mode 0700, and writes into it. Throws `CliError` with what to change.
 */
export function usableFolder(flag: string, path: string): void {
  const folder = resolve(path);
  const refuse = (what: string): never => {
    throw new CliError(EXIT.usage, `${flag}: ${what}`);
  };
  try {
    makeFolder(folder);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') refuse(`${folder} is not a folder: name one`);
    refuse(because(folder, 'be made', error));
  }
  const probe = join(folder, `.probe-${process.pid}`);
  try {
    // For a program that runs as root, modes say nothing, and the file system may still refuse writes.
    writeFileSync(probe, '');
    rmSync(probe);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // A full disk is not a wrong setting: the program itself reports it, and continues once there is room.
    if (code === 'ENOSPC' || code === 'EDQUOT') return;
    refuse(because(folder, 'be written', error));
  }
}

/** Throws `CliError` when the file cannot be read. */
export function readableFile(flag: string, path: string): void {
  const file = resolve(path);
  try {
    if (statSync(file).isDirectory()) throw new CliError(EXIT.usage, `${flag}: ${file} is a folder`);
    accessSync(file, constants.R_OK);
  } catch (error) {
    if (error instanceof CliError) throw error;
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    throw new CliError(
      EXIT.usage,
      `${flag}: ${missing ? `${file} does not exist` : because(file, 'be read', error)}`,
    );
  }
}

export function because(path: string, what: string, error: unknown): string {
  const { code = '', message } = error as NodeJS.ErrnoException;
  return `${path} cannot ${what}: ${REASONS[code] ?? message} (${code})`;
}
