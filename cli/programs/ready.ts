/**
 * How a program reports that it runs: prose on a terminal, otherwise the line `ready {json}` on stdout; with
 * --ready-file also the same JSON in a file, written atomically.
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

/** The API's URL for programs on this machine. */
export function apiUrl(
  { apiHost: host, apiTlsCert }: { apiHost: string; apiTlsCert: string | undefined },
  port: number,
): string {
  const own = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;
  const scheme = apiTlsCert === undefined ? 'http' : 'https';
  return `${scheme}://${own.includes(':') ? `[${own}]` : own}:${port}`;
}
