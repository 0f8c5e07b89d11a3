/**
 * Questions before what cannot be undone. Only people at a terminal are asked: scripts go on, with or without
 * --yes.
 */
import type { Command } from 'commander';
import type { GroupView, StatusView } from '../api/views.ts';
import type { Flags, OperatorContext } from '../command-line.ts';
import { CliError, EXIT } from '../exit-codes.ts';
import type { TargetBody } from './targets.ts';

/** Commands to more devices than this are confirmed. */
const DEVICES_WITHOUT_QUESTION = 1_000;

export function withYes(command: Command): Command {
  return command.option('--yes', 'do not ask, also on a terminal');
}

/** Throws `CliError` when the person says no. */
export async function confirmed({ shell }: OperatorContext, flags: Flags, question: string): Promise<void> {
  if (flags.yes === true) return;
  if ((await shell.confirm(question)) === false) {
    throw new CliError(EXIT.interrupted, 'Nothing was done.');
  }
}

/** Asks when a target holds very many devices. */
export async function confirmTarget(
  context: OperatorContext,
  flags: Flags,
  target: TargetBody,
  what: string,
): Promise<void> {
  if (flags.yes === true || !context.shell.interactive) return;
  const devices = await devicesIn(context, target);
  if (devices <= DEVICES_WITHOUT_QUESTION) return;
  await confirmed(context, flags, `${what} reaches ${devices} devices. Go on?`);
}

async function devicesIn({ api }: OperatorContext, target: TargetBody): Promise<number> {
  if ('devices' in target) return target.devices.length;
  if ('all' in target) return (await api.get<StatusView>('/v1/status')).devices.total;
  const groups = (await api.list<GroupView>('/v1/groups', {}, Number.MAX_SAFE_INTEGER)).items;
  const top = groups.find(({ id }) => id === target.group);
  if (top === undefined) return 0;
  return groups
    .filter(({ path }) => path === top.path || path.startsWith(`${top.path}/`))
    .reduce((sum, { devices }) => sum + (devices ?? 0), 0);
}
