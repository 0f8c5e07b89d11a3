/** What all commands share: output, exit code and flags. */
import { InvalidArgumentError } from 'commander';
import type { ApiClient } from './api/api-client.ts';
import { DURATION_FORM, parseDuration } from './config/duration.ts';
import type { ExitCode } from './exit-codes.ts';
import type { Output } from './output/output.ts';
import type { Shell } from './shell.ts';

/** Collects the exit code; `run.ts` reads it. */
export interface Ending {
  code: ExitCode;
}

export interface CommandShell {
  shell: Shell;
  ending: Ending;
}

/** What a command that speaks to an administration server works with. */
export interface OperatorContext {
  api: ApiClient;
  out: Output;
  shell: Shell;
  /** Aborts at Ctrl-C. */
  signal: AbortSignal;
}

export type Flags = Record<string, unknown>;

export function durationFlag(text: string): number {
  const ms = parseDuration(text);
  if (ms === null || ms === 0) throw new InvalidArgumentError(`Expected ${DURATION_FORM}.`);
  return ms;
}

export function countFlag(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('Expected a whole number from 1.');
  return Number(text);
}

export function portFlag(text: string): number {
  if (!/^\d{1,5}$/.test(text) || Number(text) < 1 || Number(text) > 65_535) {
    throw new InvalidArgumentError('Expected a port number, 1 to 65535.');
  }
  return Number(text);
}
