/** `--wait`: the progress line, the outcome, and the exit code that scripts compare. */

import { followCommand } from '../api/follow.ts';
import type { CommandView, ExecutionView } from '../api/views.ts';
import type { OperatorContext } from '../command-line.ts';
import { roughDuration } from '../config/duration.ts';
import { EXIT, type ExitCode } from '../exit-codes.ts';
import { LiveLine } from '../output/live-line.ts';
import type { Output } from '../output/output.ts';
import { countsText, executionColumns, finalCount } from './execution-table.ts';
import { type NamedId, namesOf } from './names.ts';
import { areAgentFigures, FIGURE_COLUMNS, figureFields } from './statistics-table.ts';

export interface WaitOptions {
  waitTimeoutMs?: number | undefined;
  /** Default 5 s. */
  hintAfterMs?: number;
  /** Show what devices returned (statistics), and not only failures. */
  showAll?: boolean;
  /** Most executions to show. */
  limit?: number;
}

/** If devices stay offline, `--wait` lasts as long as the command may: it says so once, after this long. */
const HINT_AFTER_MS = 5_000;

export async function waitForCommand(
  context: OperatorContext,
  commandId: string,
  options: WaitOptions,
): Promise<ExitCode> {
  const { api, out, shell, signal } = context;
  const line = new LiveLine(shell);
  let command: CommandView;
  let newest: CommandView | undefined;
  let hintDue = false;
  const hintTimer = setTimeout(() => {
    hintDue = true;
    hint();
  }, options.hintAfterMs ?? HINT_AFTER_MS);
  const hint = (): void => {
    if (!hintDue || out.json || options.waitTimeoutMs !== undefined || newest === undefined) return;
    const text = awayText(newest);
    if (text === undefined) return;
    hintDue = false;
    line.end();
    out.note(text);
  };
  try {
    command = await followCommand({
      api,
      commandId,
      signal,
      waitTimeoutMs: options.waitTimeoutMs,
      onChange: (now) => {
        newest = now;
        if (!out.json) line.update(progressText(now));
        hint();
      },
    });
  } finally {
    clearTimeout(hintTimer);
    line.end();
  }
  await showOutcome(context, command, options);
  return command.counts.succeeded === command.counts.total ? EXIT.ok : EXIT.notAllSucceeded;
}

/** `undefined` unless only offline devices hold the command up. */
function awayText({ counts, expanded, expiresAt, finishedAt, issuedAt }: CommandView): string | undefined {
  const { total, queued } = counts;
  // Executions that run or are being delivered do not wait for offline devices.
  if (!expanded || finishedAt !== null || queued === 0 || finalCount(counts) + queued < total)
    return undefined;
  const upTo = roughDuration(Date.parse(expiresAt) - Date.parse(issuedAt));
  const who = queued === 1 ? '1 device is' : `${queued} devices are`;
  return (
    `${who} offline or out of reach. The command waits up to ${upTo}: --wait-timeout gives up earlier, ` +
    '--offline skip does not wait for them.'
  );
}

function progressText(command: CommandView): string {
  const { counts } = command;
  if (!command.expanded && counts.total === 0) return `${command.type} ${command.id}: preparing`;
  return (
    `${command.type} ${command.id}: ${finalCount(counts)} of ${counts.total} final ` +
    `(${countsText(counts)})`
  );
}

async function showOutcome(
  { api, out }: OperatorContext,
  command: CommandView,
  options: WaitOptions,
): Promise<void> {
  const limit = options.limit ?? 20;
  const path = `/v1/commands/${encodeURIComponent(command.id)}/executions`;
  if (out.json) {
    const page = await api.list<ExecutionView>(path, { data: true }, Math.max(limit, 1_000));
    out.document({
      command,
      executions: page.items,
      executionsOmitted: command.counts.total - page.items.length,
    });
    return;
  }
  if (command.counts.total === 0) out.note('No device is in the target: there was nothing to do.');
  const all = options.showAll === true || command.counts.total === 1;
  const shown: ExecutionView[] = [];
  // Each state is requested separately, so that 10 failures among 100,000 are found without reading all of
  // them.
  const states = all
    ? [undefined]
    : (['failed', 'rejected', 'timed-out', 'expired', 'canceled', 'superseded'] as const);
  for (const state of states) {
    if (shown.length >= limit || (state !== undefined && (command.counts[state] ?? 0) === 0)) continue;
    shown.push(...(await api.list<ExecutionView>(path, { state, data: true }, limit - shown.length)).items);
  }
  const devices = await namesOf(
    api,
    'devices',
    shown.map((execution) => execution.deviceId),
  );
  showExecutions(out, command, shown, devices);
  const wanted = all ? command.counts.total : command.counts.total - command.counts.succeeded;
  if (wanted > shown.length) {
    out.note(
      `${wanted - shown.length} more; see them with: pushpoint commands executions ${command.id} --limit all`,
    );
  }
  out.line(`${command.id} finished: ${countsText(command.counts)}`);
}

function showExecutions(
  out: Output,
  command: CommandView,
  shown: readonly ExecutionView[],
  devices: NamedId,
): void {
  const [only] = shown;
  if (only === undefined) return;
  if (command.type === 'statistics' && shown.length === 1 && only.state === 'succeeded') {
    out.fields([['device', only.deviceId] as const, ...figureFields(only.data)]);
  } else if (command.type === 'statistics' && areAgentFigures(shown)) {
    out.table(FIGURE_COLUMNS, shown, '');
  } else {
    out.table(executionColumns(devices), shown, '');
  }
}
