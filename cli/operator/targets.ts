/** The target of a command: exactly one of `--all`, `--group G` and `--device D...`. */
import type { Command } from 'commander';
import type { ApiClient } from '../api/api-client.ts';
import type { Flags } from '../command-line.ts';
import { CliError, EXIT } from '../exit-codes.ts';
import { resolveId } from './lookup.ts';

export type TargetBody = { all: true } | { group: string } | { devices: string[] };

/** With more devices than this, names are not looked up: ids only. */
const MAX_LOOKUPS = 50;

export function withTargets(command: Command): Command {
  return command
    .option('--all', 'all devices')
    .option('--group <group>', 'the devices of a group and its subgroups, by id or name')
    .option('--device <device...>', 'these devices, by id or name');
}

export async function targetOf(api: ApiClient, flags: Flags): Promise<TargetBody> {
  const given = [flags.all, flags.group, flags.device].filter((value) => value !== undefined);
  if (given.length !== 1) {
    throw new CliError(EXIT.usage, 'Name the target: exactly one of --all, --group and --device.');
  }
  if (flags.all === true) return { all: true };
  if (flags.group !== undefined) return { group: await resolveId(api, 'groups', flags.group as string) };
  const devices = [...new Set(flags.device as string[])];
  if (devices.length > MAX_LOOKUPS) return { devices };
  return { devices: await Promise.all(devices.map((device) => resolveId(api, 'devices', device))) };
}
