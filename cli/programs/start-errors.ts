/** Why a program cannot start: expected causes become a sentence and an exit code, without a stack. */
import { CliError, EXIT, type ExitCode } from '../exit-codes.ts';

/** By the error's name, because importing the classes would load every part into every program. */
const BY_NAME: Record<string, ExitCode> = {
  BusUnavailable: EXIT.unavailable,
  StoreUnavailable: EXIT.unavailable,
  // A person must change something: systemd does not try again (RestartPreventExitStatus).
  StoreSettingsError: EXIT.usage,
  RedisSettingsError: EXIT.usage,
  EnrollError: EXIT.refused,
  ForeignInstallation: EXIT.refused,
  JoinRefused: EXIT.refused,
  IdentityFileError: EXIT.usage,
  PortUnavailable: EXIT.fault,
  FolderInUse: EXIT.fault,
  DatabaseInUse: EXIT.fault,
};
const BY_CODE: Record<string, string> = {
  EADDRINUSE: 'is in use already: does another one run?',
  EADDRNOTAVAIL: 'is not an address of this machine',
  EACCES: 'may not be used by this user',
};

/** The error itself if it is unexpected. */
export function startError(error: unknown): unknown {
  const { name, message, code, port, address, path } = error as Error & Record<string, unknown>;
  const exitCode = BY_NAME[name];
  if (exitCode !== undefined) return new CliError(exitCode, `Cannot start: ${message}`, { cause: error });
  const known = typeof code === 'string' ? BY_CODE[code] : undefined;
  if (known === undefined) return error;
  const what = port === undefined ? String(path ?? message) : `port ${String(port)} of ${String(address)}`;
  return new CliError(EXIT.fault, `Cannot start: ${what} ${known}`, { cause: error });
}
