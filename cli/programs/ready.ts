/**
 * How a program says that it runs: prose on a terminal, otherwise the one line `ready {json}` on stdout, and
 * with --ready-file the same JSON in a file that appears whole or not at all.
 */
import { renameSync, writeFileSync } from 'node:fs';
import { CliError, EXIT } from '../exit-codes.ts';
import type { Shell } from '../shell.ts';
import { because } from './folders.ts';

export interface ReadyFacts {
  program: string;
  pid: number;
  /** Where the HTTP API is, for programs that have one. */
  api?: string;
  apiPort?: number;
  /** What devices dial, for programs that have a gateway. */
  gateway?: string;
  gatewayPort?: number;
  metricsPort?: number;
  tokenFile?: string;
  /** The device's id, for the agent. */
  device?: string;
}

export function sayReady(
  shell: Shell,
  facts: ReadyFacts,
  prose: readonly string[],
  readyFile: string | undefined,
): void {
  const json = JSON.stringify(facts);
  if (readyFile !== undefined) {
    const temporary = `${readyFile}.${process.pid}.tmp`;
    try {
      writeFileSync(temporary, `${json}\n`);
      renameSync(temporary, readyFile);
    } catch (error) {
      throw new CliError(EXIT.usage, `--ready-file: ${because(readyFile, 'be written', error)}`);
    }
  }
  if (shell.stdout.isTTY === true) shell.announce(`${prose.join('\n')}\n`);
  else shell.announce(`ready ${json}\n`);
}

/** The API as a program on this machine reaches it. */
export function apiUrl(
  { apiHost: host, apiTlsCert }: { apiHost: string; apiTlsCert: string | undefined },
  port: number,
): string {
  const own = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;
  const scheme = apiTlsCert === undefined ? 'http' : 'https';
  return `${scheme}://${own.includes(':') ? `[${own}]` : own}:${port}`;
}
