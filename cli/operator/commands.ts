/** `pushpoint commands`: commands and their outcomes. */
import { type Command, Option } from 'commander';
import { EXECUTION_STATES } from '../../protocol/execution-states.ts';
import type { CommandView, ExecutionView } from '../api/views.ts';
import { type CommandShell, countFlag, durationFlag, type OperatorContext } from '../command-line.ts';
import { commandColumns, countsText, executionColumns, targetNames, targetText } from './execution-table.ts';
import { resolveId } from './lookup.ts';
import { namesOf } from './names.ts';
import { DEFAULT, limitOf, noteMore, operatorCommand, wantsData, withLimit } from './operator-command.ts';
import { spanOf, withSpan } from './time-flags.ts';
import { relativeTime, timeAgo } from './times.ts';
import { waitForCommand } from './wait.ts';

const pathOf = (id: string | undefined): string => `/v1/commands/${encodeURIComponent(id ?? '')}`;

export function addCommandsCommands(program: Command, shell: CommandShell): void {
  const commands = program.command('commands').description('list, follow and cancel commands');

  const list = operatorCommand(
    commands,
    shell,
    'list',
    'the newest commands',
    async ({ api, out }, _, flags) => {
      const query = {
        type: flags.type as string,
        state: flags.state as string,
        device: flags.device as string,
        ...spanOf(flags),
      };
      const page = await api.list<CommandView>('/v1/commands', query, limitOf(flags));
      if (out.json) return out.document(page);
      out.table(commandColumns(await targetNames(api, page.items)), page.items, 'No commands.');
      noteMore(out, page.next);
    },
    DEFAULT,
  );
  withSpan(withLimit(list), 'issued')
    .option('--type <type>', 'only this type, for example sync')
    .addOption(new Option('--state <state>', 'only these').choices(['open', 'finished']))
    .option('--device <id>', 'only those for this device');

  operatorCommand(commands, shell, 'show <id>', 'one command', async ({ api, out }, [id]) => {
    await showCommand(out, api, await api.get<CommandView>(pathOf(id)));
  });

  const executions = operatorCommand(
    commands,
    shell,
    'executions <id>',
    'its outcome on each device',
    async ({ api, out }, [id], flags) => {
      const { since: finishedSince, until: finishedUntil } = spanOf(flags);
      const query = { state: flags.state as string, data: wantsData(flags), finishedSince, finishedUntil };
      const page = await api.list<ExecutionView>(`${pathOf(id)}/executions`, query, limitOf(flags));
      if (out.json) return out.document(page);
      const devices = await namesOf(
        api,
        'devices',
        page.items.map((execution) => execution.deviceId),
      );
      out.table(executionColumns(devices), page.items, 'No executions.');
      noteMore(out, page.next);
    },
  );
  withSpan(withLimit(executions), 'finished')
    .option(
      '--data',
      'include what the devices returned, for any number; up to 100 executions include it anyway',
    )
    .addOption(new Option('--state <state>', 'only these').choices([...EXECUTION_STATES]));

  operatorCommand(
    commands,
    shell,
    'reveal <id> <device>',
    'what a device returned for a secret command; the audit trail records it',
    async ({ api, out }, [id, device = '']) => {
      const deviceId = await resolveId(api, 'devices', device);
      const path = `${pathOf(id)}/executions/${encodeURIComponent(deviceId)}/reveal`;
      const execution = await api.request<ExecutionView>('POST', path);
      if (out.json) return out.document(execution);
      out.fields([
        ['State', execution.state],
        ['Reason', execution.reason],
        ['Data', JSON.stringify(execution.data ?? null)],
      ]);
    },
  );

  operatorCommand(
    commands,
    shell,
    'cancel <id>',
    'cancel executions that are not final yet',
    async ({ api, out }, [id], flags) => {
      const body = { force: flags.force === true };
      const command = await api.request<CommandView>('POST', `${pathOf(id)}/cancel`, { body });
      if (out.json) return out.document(command);
      out.line(`${command.id}: cancel requested (${countsText(command.counts)})`);
    },
  ).option('--force', 'also stop executions that already run');

  operatorCommand(
    commands,
    shell,
    'wait <id>',
    'follow the command until every execution is final',
    (context, [id], flags) =>
      waitForCommand(context, id ?? '', {
        waitTimeoutMs: flags.waitTimeout as number | undefined,
        ...(flags.show === undefined ? {} : { limit: flags.show as number }),
      }),
  )
    .option('--wait-timeout <duration>', 'stop waiting after this long', durationFlag)
    .option('--show <count>', 'maximum number of executions to show', countFlag);
}

async function showCommand(
  out: OperatorContext['out'],
  api: OperatorContext['api'],
  command: CommandView,
): Promise<void> {
  if (out.json) return out.document(command);
  const names = await targetNames(api, [command]);
  out.fields([
    ['Command', command.id],
    ['Type', command.type],
    ['Arguments', command.secret ? 'secret' : JSON.stringify(command.args)],
    ['Target', targetText(command, names)],
    ['Issued', `${timeAgo(command.issuedAt)} by ${command.createdBy}`],
    ['Deliver by', `${relativeTime(command.expiresAt)} (devices not connected: ${command.offline})`],
    ['Finish by', `${command.timeout} s after the acknowledgement`],
    ['Collapse key', command.collapseKey],
    ['Cancel requested', timeAgo(command.cancelRequestedAt)],
    ['Finished', command.finishedAt === null ? 'not yet' : timeAgo(command.finishedAt)],
    ['Executions', `${command.counts.total}: ${countsText(command.counts)}`],
  ]);
}
