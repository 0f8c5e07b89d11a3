/**
 * The command types, and what their arguments and results look like (PROTOCOL.md, section "Command types").
 * TypeBox schemas: the HTTP API shows them in its OpenAPI document and checks arguments with them; the ledger checks
 * results. `message` is an application's own.
 */
import { type Static, Type } from 'typebox';

const TaskName = Type.String({ minLength: 1, maxLength: 64, pattern: '^[A-Za-z0-9][A-Za-z0-9._-]*$' });

export const SyncArgs = Type.Object(
  { full: Type.Optional(Type.Boolean({ description: 'Fetch everything, not only what changed.' })) },
  { additionalProperties: false },
);
export const SyncResult = Type.Object({
  revision: Type.Optional(Type.String({ description: 'Policy revision in force afterwards.' })),
  exitStatus: Type.Optional(Type.Integer()),
  output: Type.Optional(Type.String({ description: 'The tail of what the hook printed.' })),
});

export const TaskArgs = Type.Object({ task: TaskName }, { additionalProperties: false });
export const TaskStartResult = Type.Object({
  exitStatus: Type.Optional(Type.Integer({ description: 'Exit status of the task.' })),
  signal: Type.Optional(Type.String({ description: 'Signal that ended the task.' })),
  output: Type.Optional(Type.String({ description: 'The tail of what the task printed.' })),
});
export const TaskStopResult = Type.Object({
  wasRunning: Type.Boolean({ description: 'Whether there was anything to stop.' }),
});

export const StatisticsArgs = Type.Object({}, { additionalProperties: false });
export const StatisticsResult = Type.Record(Type.String(), Type.Unknown(), {
  description:
    'Figures of the application; the reference agent reports uptime, load, memory, disk and its tasks.',
});

export const MessageArgs = Type.Object(
  {
    topic: Type.String({ minLength: 1, maxLength: 128, description: 'What the message is about.' }),
    body: Type.Optional(Type.Unknown({ description: 'Any JSON value.' })),
  },
  { additionalProperties: false },
);
export const MessageResult = Type.Unknown();

const MINUTE = 60_000;

/**
 * `timeoutMs` is the default finish-by clock; `collapseKey` the key that makes a newer command supersede an undelivered
 * older one, `null` for types that never collapse by themselves.
 */
export const COMMAND_TYPES = {
  sync: { args: SyncArgs, result: SyncResult, timeoutMs: 15 * MINUTE, collapseKey: 'sync' },
  'task.start': { args: TaskArgs, result: TaskStartResult, timeoutMs: 60 * MINUTE, collapseKey: null },
  'task.stop': { args: TaskArgs, result: TaskStopResult, timeoutMs: 5 * MINUTE, collapseKey: null },
  statistics: { args: StatisticsArgs, result: StatisticsResult, timeoutMs: 5 * MINUTE, collapseKey: null },
  message: { args: MessageArgs, result: MessageResult, timeoutMs: 15 * MINUTE, collapseKey: null },
} as const;

export type CommandType = keyof typeof COMMAND_TYPES;
export const COMMAND_TYPE_NAMES = Object.keys(COMMAND_TYPES) as [CommandType, ...CommandType[]];

export type ArgsOf<T extends CommandType> = Static<(typeof COMMAND_TYPES)[T]['args']>;

/** Deliver-by clock where a command names none: seven days. */
export const DEFAULT_TTL_MS = 7 * 24 * 60 * MINUTE;
