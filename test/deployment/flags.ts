/** Flags with which tests start the programs. */
import { join } from 'node:path';

export interface AdminFlags {
  dataDir: string;
  port: number;
  /** SQLite in the data folder when absent. */
  databaseUrl?: string | undefined;
}

export function adminFlags({ dataDir, port, databaseUrl }: AdminFlags): string[] {
  const database = databaseUrl === undefined ? [] : ['--database-url', databaseUrl];
  return ['--data-dir', dataDir, '--api-port', String(port), ...database];
}

export interface GatewayFlags {
  name: string;
  port: number;
  /** Where devices are told to dial; `port` when absent. */
  dialed?: number | undefined;
}

/** On the loopback interface, with a free port for metrics. */
export function gatewayFlags({ name, port, dialed = port }: GatewayFlags): string[] {
  return [
    ...['--name', name, '--host', '127.0.0.1', '--port', String(port), '--metrics-port', '0'],
    ...['--address', `ws://127.0.0.1:${dialed}`],
  ];
}

/** Devices leave a gateway at once. */
export const DRAIN_AT_ONCE = ['--drain-per-second', '100000'] as const;

/** A gateway joins with a token in a file, which the server in `adminDir` writes: `--join-tokens NAME`. */
export function joinFlags(name: string, adminDir: string): string[] {
  return ['--data-dir', adminDir, '--join-token-file', join(adminDir, 'join-tokens', name)];
}
