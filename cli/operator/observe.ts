/** `pushpoint status`, `pushpoint events` and `pushpoint audit`. */
import type { Command } from 'commander';
import { readEventStream, type StreamEvent } from '../api/event-stream.ts';
import type { AuditEntryView, StatusView } from '../api/views.ts';
import type { CommandShell } from '../command-line.ts';
import { CliError, EXIT } from '../exit-codes.ts';
import { printableJson } from '../output/printable.ts';
import { type Column, plain } from '../output/table.ts';
import { showCoverage } from './gateway-tables.ts';
import { limitOf, noteMore, operatorCommand, withLimit } from './operator-command.ts';
import { spanOf, timeFlag, withSpan } from './time-flags.ts';

export function addObserveCommands(program: Command, shell: CommandShell): void {
  operatorCommand(program, shell, 'status', 'state of the administration server', async ({ api, out }) => {
    const status = await api.get<StatusView>('/v1/status');
    if (out.json) return out.document(status);
    const { coverage, ...rest } = status;
    out.fields([['server', api.server] as const, ...flatten(rest)]);
    showCoverage(out, status);
  });

  operatorCommand(
    program,
    shell,
    'events',
    'changes as they happen, until Ctrl-C',
    async ({ api, out, signal }, _, flags) => {
      await readEventStream({
        api,
        query: {
          type: flags.type as string,
          command: flags.command as string,
          after: flags.after as string,
          since: flags.since as string,
        },
        signal,
        onEvent: (event) => out.line(out.json ? eventJson(event) : eventLine(event)),
        onConnected: (connected, why) => {
          if (!connected) out.note(`Connection lost (${why}); connecting again.`);
        },
      });
      throw new CliError(EXIT.interrupted, '');
    },
  )
    .option('--type <prefix>', 'only types that begin with this, for example device.')
    .option('--command <id>', 'only events of this command')
    .option('--after <number>', 'begin after this event')
    .option('--since <time>', 'begin with events from then: a time, or how long ago (15m)', (text: string) =>
      timeFlag(text),
    );

  const audit = operatorCommand(
    program,
    shell,
    'audit',
    'who changed what, the newest first',
    async ({ api, out }, _, flags) => {
      const page = await api.list<AuditEntryView>('/v1/audit', spanOf(flags), limitOf(flags));
      if (out.json) return out.document(page);
      out.table(AUDIT_COLUMNS, page.items, 'No entries.');
      noteMore(out, page.next);
    },
  );
  withSpan(withLimit(audit), 'done');
}

const AUDIT_COLUMNS: readonly Column<AuditEntryView>[] = [
  { title: 'AT', value: (row) => row.at },
  { title: 'BY', value: (row) => row.actor },
  { title: 'ACTION', value: (row) => row.action },
  { title: 'SUBJECT', value: (row) => row.subject },
  { title: 'DETAIL', value: (row) => JSON.stringify(row.detail), shrink: true },
];

/** One JSON line: number, type, and data of the event. */
function eventJson(event: StreamEvent): string {
  return printableJson(JSON.stringify({ seq: Number(event.id), type: event.event, data: parse(event.data) }));
}

function eventLine(event: StreamEvent): string {
  const { at, event: _, ...rest } = (parse(event.data) ?? {}) as { at?: string; event?: string };
  return plain(`${at ?? ''} ${event.id} ${event.event} ${JSON.stringify(rest)}`.trim());
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** `{ a: { b: 1 } }` as `a.b  1`. */
function flatten(value: object, prefix = ''): (readonly [string, string | number | null])[] {
  return Object.entries(value).flatMap(([key, each]) => {
    const name = `${prefix}${key}`;
    if (typeof each === 'object' && each !== null && !Array.isArray(each)) return flatten(each, `${name}.`);
    return [
      [name, typeof each === 'string' || typeof each === 'number' ? each : JSON.stringify(each)] as const,
    ];
  });
}
