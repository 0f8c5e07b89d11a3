/**
 * The command types, and what their arguments and results look like (PROTOCOL.md, section "Command types").
 * TypeBox schemas: the HTTP API shows them in its OpenAPI document and checks arguments with them; the ledger
 * checks results. `message` is an application's own.
 */
import { type Static, Type } from 'typebox';
import type { CommandType } from './command-args.ts';
import { COMMAND_DEFAULTS } from './command-defaults.ts';

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

const Name = Type.String({ minLength: 1, maxLength: 64, pattern: '^[A-Za-z0-9][A-Za-z0-9._-]*$' });

/**
 * Sent by the administration server itself, never by an operator. Ticket and key are secrets: no answer and
 * no log shows them.
 */
export const TunnelOpenArgs = Type.Object(
  {
    tunnel: Name,
    gateway: Type.Object(
      { name: Name, url: Type.String({ minLength: 1, maxLength: 512 }) },
      { additionalProperties: false, description: 'Where to dial.' },
    ),
    worker: Type.Integer({
      minimum: 0,
      maximum: 1_023,
      description: 'Number of the worker that has the tunnel.',
    }),
    ticket: Type.String({ pattern: '^[A-Za-z0-9_-]{43}$' }),
    key: Type.Optional(
      Type.String({
        pattern: '^[A-Za-z0-9_-]{80}$',
        description: 'Key of the tunnel, encrypted for the device alone; absent with `resume`.',
      }),
    ),
    host: Type.String({ minLength: 1, maxLength: 255 }),
    port: Type.Integer({ minimum: 1, maximum: 65_535 }),
    lifeMs: Type.Integer({ minimum: 1, description: 'Time the tunnel may still last, milliseconds.' }),
    resume: Type.Optional(
      Type.Boolean({
        description: 'The tunnel exists and goes on here; refused by a device that does not have it.',
      }),
    ),
  },
  { additionalProperties: false },
);
export const TunnelOpenResult = Type.Object({});
export const TunnelCloseArgs = Type.Object(
  { tunnel: Name, reason: Type.Optional(Type.String({ maxLength: 256 })) },
  { additionalProperties: false },
);
export const TunnelCloseResult = Type.Object({
  wasOpen: Type.Boolean({ description: 'Whether there was anything to close.' }),
});

/** Asked by the administration server itself, of devices whose sessions end each other (H-12). */
export const IdentifyArgs = Type.Object({}, { additionalProperties: false });
export const IdentifyResult = Type.Object({
  run: Type.String({ minLength: 1, maxLength: 64, description: 'Random, new at each start of the program.' }),
  upMs: Type.Integer({ minimum: 0, description: 'Time since that start, milliseconds.' }),
  gateway: Type.String({
    maxLength: 64,
    description: 'Name of the gateway that the device is connected to.',
  }),
});

/** The schemas of each type, and its defaults. */
export const COMMAND_TYPES = {
  sync: { args: SyncArgs, result: SyncResult, ...COMMAND_DEFAULTS.sync },
  'task.start': { args: TaskArgs, result: TaskStartResult, ...COMMAND_DEFAULTS['task.start'] },
  'task.stop': { args: TaskArgs, result: TaskStopResult, ...COMMAND_DEFAULTS['task.stop'] },
  statistics: { args: StatisticsArgs, result: StatisticsResult, ...COMMAND_DEFAULTS.statistics },
  message: { args: MessageArgs, result: MessageResult, ...COMMAND_DEFAULTS.message },
  'tunnel.open': { args: TunnelOpenArgs, result: TunnelOpenResult, ...COMMAND_DEFAULTS['tunnel.open'] },
  'tunnel.close': { args: TunnelCloseArgs, result: TunnelCloseResult, ...COMMAND_DEFAULTS['tunnel.close'] },
  identify: { args: IdentifyArgs, result: IdentifyResult, ...COMMAND_DEFAULTS.identify },
} as const satisfies Record<CommandType, object>;

export type { CommandType } from './command-args.ts';
export const COMMAND_TYPE_NAMES = Object.keys(COMMAND_TYPES) as [CommandType, ...CommandType[]];

/** The types that operators send; the others are parts of something the administration server does. */
export const OPERATOR_COMMAND_TYPES = ['sync', 'task.start', 'task.stop', 'statistics', 'message'] as const;
export type OperatorCommandType = (typeof OPERATOR_COMMAND_TYPES)[number];

export type ArgsOf<T extends CommandType> = Static<(typeof COMMAND_TYPES)[T]['args']>;
