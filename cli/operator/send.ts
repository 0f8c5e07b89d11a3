/** The commands to devices: sync, task, stats and message. */
import { type Command, Option } from 'commander';
import { nanoid } from 'nanoid';
import { COMMAND_DEFAULTS } from '../../protocol/command-defaults.ts';
import type { ApiClient } from '../api/api-client.ts';
import type { CommandView } from '../api/views.ts';
import {
  type CommandShell,
  countFlag,
  durationFlag,
  type Flags,
  type OperatorContext,
} from '../command-line.ts';
import { roughDuration } from '../config/duration.ts';
import type { ExitCode } from '../exit-codes.ts';
import type { Shell } from '../shell.ts';
import { confirmTarget, withYes } from './confirmation.ts';
import { bodyOf, withBody } from './message-body.ts';
import { operatorCommand } from './operator-command.ts';
import { targetOf, withTargets } from './targets.ts';
import { waitForCommand } from './wait.ts';

/** May be a promise. */
type ArgsOf = (positional: (string | undefined)[], flags: Flags, shell: Shell) => unknown;

export function addSendCommands(program: Command, shell: CommandShell): void {
  send(program, shell, 'sync', 'force a synchronisation', 'sync', (_, flags) =>
    flags.full === true ? { full: true } : {},
  ).option('--full', 'fetch everything, not only what changed');

  const task = program.command('task').description('start and stop tasks on devices');
  const named: ArgsOf = ([name]) => ({ task: name });
  send(task, shell, 'start <name>', 'start a task that the device has configured', 'task.start', named);
  send(task, shell, 'stop <name>', 'stop a running task', 'task.stop', named);

  send(program, shell, 'stats', 'fetch statistics of devices', 'statistics', () => ({}));

  const message = "send a message to the devices' own program";
  withBody(
    send(program, shell, 'message <topic>', message, 'message', async ([topic], flags, terminal) => {
      const body = await bodyOf(flags, terminal);
      return body === undefined ? { topic } : { topic, body };
    }),
  );
}

function send(
  parent: Command,
  shell: CommandShell,
  usage: string,
  description: string,
  type: keyof typeof COMMAND_DEFAULTS,
  argsOf: ArgsOf,
): Command {
  const command = operatorCommand(parent, shell, usage, description, async (context, positional, flags) =>
    sendAndWait(context, type, await argsOf(positional, flags, context.shell), flags),
  );
  withTargets(command);
  withYes(command);
  const { collapseKey, timeoutMs } = COMMAND_DEFAULTS[type];
  return command
    .option(
      '--ttl <duration>',
      'deliver by: how long it may wait for its devices (default: 7d)',
      durationFlag,
    )
    .option(
      '--timeout <duration>',
      'finish by: how long a device may take, from its acknowledgement (default: ' +
        `${roughDuration(timeoutMs)})`,
      durationFlag,
    )
    .addOption(
      new Option('--offline <what>', 'what to do for devices that are offline')
        .choices(['queue', 'skip'])
        .default('queue'),
    )
    .option(
      '--collapse-key <key>',
      `replaces undelivered commands with the same key (default: ${collapseKey ?? 'none'})`,
    )
    .option('--secret', 'only the devices and the server can read arguments and results')
    .option('--idempotency-key <key>', 'repeating the request with the same key creates no second command')
    .option('--wait', 'follow the command until every execution is final')
    .option('--wait-timeout <duration>', 'stop waiting after this long; the command goes on', durationFlag)
    .option('--show <count>', 'with --wait: maximum number of executions to show', countFlag);
}

async function sendAndWait(
  context: OperatorContext,
  type: string,
  args: unknown,
  flags: Flags,
): Promise<ExitCode | undefined> {
  const { api, out } = context;
  const target = await targetOf(api, flags);
  await confirmTarget(context, flags, target, type);
  const body = {
    type,
    args,
    target,
    offline: flags.offline,
    ...(flags.ttl === undefined ? {} : { ttl: (flags.ttl as number) / 1000 }),
    ...(flags.timeout === undefined ? {} : { timeout: (flags.timeout as number) / 1000 }),
    ...(flags.collapseKey === undefined ? {} : { collapseKey: flags.collapseKey }),
    ...(flags.secret === true && { secret: true }),
  };
  const command = await createCommand(api, body, (flags.idempotencyKey as string | undefined) ?? nanoid());
  if (flags.wait !== true) {
    if (out.json) out.document(command);
    else {
      out.line(command.id);
      out.note(`Accepted. Follow it with: pushpoint commands wait ${command.id}`);
    }
    return undefined;
  }
  return waitForCommand(context, command.id, {
    waitTimeoutMs: flags.waitTimeout as number | undefined,
    showAll: type === 'statistics' || type === 'message',
    ...(flags.show === undefined ? {} : { limit: flags.show as number }),
  });
}

/** The key makes it safe to repeat the request if the answer was lost. */
function createCommand(api: ApiClient, body: unknown, idempotencyKey: string): Promise<CommandView> {
  return api.request('POST', '/v1/commands', { body, headers: { 'idempotency-key': idempotencyKey } });
}
