import { type Static, type TSchema, Type } from 'typebox';
import {
  COMMAND_TYPE_NAMES,
  COMMAND_TYPES,
  OPERATOR_COMMAND_TYPES,
  type OperatorCommandType,
} from '../../../protocol/command-types.ts';
import { EXECUTION_STATES, FINAL_STATES, LIMITS, SERVER_LIMITS } from '../../../protocol/index.ts';
import { Count, closed, Id, Nullable, OneOf, PLAIN_TEXT, pageQuery, Time } from './common.ts';
import { spanOf, spanQuery } from './time-span.ts';

/** Most devices that one request may name; use a group for more. */
const DEVICES_MAX = 10_000;

const Target = Type.Unsafe<{ devices: string[] } | { group: string } | { all: true }>({
  description: 'The target: named devices, a group with its subgroups, or all devices.',
  oneOf: [
    Type.Object(
      {
        devices: Type.Array(Id('Device.', 'd4x1pq0w8z7k2m5n'), { minItems: 1, maxItems: DEVICES_MAX }),
      },
      closed,
    ),
    Type.Object({ group: Id('Group.', 'berlin') }, closed),
    Type.Object({ all: Type.Literal(true) }, closed),
  ],
});

const limits = {
  target: Target,
  ttl: Type.Optional(
    Type.Number({
      exclusiveMinimum: 0,
      maximum: SERVER_LIMITS.ttlMaxMs / 1000,
      description: 'Deliver within this many seconds. Seven days if neither `ttl` nor `expiresAt` is given.',
    }),
  ),
  expiresAt: Type.Optional(Time('Deliver by this time, instead of `ttl`; not in the past.')),
  timeout: Type.Optional(
    Type.Number({
      exclusiveMinimum: 0,
      maximum: LIMITS.timeoutMaxMs / 1000,
      description: 'Finish within this many seconds of the acknowledgement; the default depends on the type.',
    }),
  ),
  collapseKey: Type.Optional(
    Nullable(
      Type.String({
        minLength: 1,
        maxLength: 64,
        pattern: PLAIN_TEXT,
        description:
          'A newer command with the same key supersedes this one on devices that have not received it ' +
          'yet. `sync` has a key by default; `null` for none.',
      }),
    ),
  ),
  offline: Type.Optional(
    OneOf(['queue', 'skip'] as const, {
      default: 'queue',
      description:
        'For devices that are offline: `queue` waits for them, `skip` leaves them out. A command that ' +
        'skips supersedes nothing before it is sent.',
    }),
  ),
  secret: Type.Optional(
    Type.Boolean({
      default: false,
      description:
        'Only the devices and the administration server can read arguments and results. They are ' +
        'encrypted in the database, and no list, event or log shows them.',
    }),
  ),
};

/** Types whose arguments may be left out. */
const isOptional = (args: TSchema) => ((args as { required?: string[] }).required ?? []).length === 0;

const example: Record<OperatorCommandType, object> = {
  sync: { type: 'sync', target: { all: true } },
  'task.start': { type: 'task.start', args: { task: 'backup' }, target: { devices: ['kiosk-17'] } },
  'task.stop': { type: 'task.stop', args: { task: 'backup' }, target: { devices: ['kiosk-17'] } },
  statistics: { type: 'statistics', target: { group: 'berlin' }, offline: 'skip' },
  message: {
    type: 'message',
    args: { topic: 'notice', body: { text: 'hello' } },
    target: { group: 'berlin' },
  },
};

function creationOf(type: OperatorCommandType) {
  const { args, timeoutMs } = COMMAND_TYPES[type];
  const described = { ...(args as TSchema), description: 'Arguments of the command.' };
  return Type.Object(
    {
      type: Type.Literal(type),
      args: isOptional(args) ? Type.Optional(described) : described,
      ...limits,
    },
    {
      title: `CommandCreation_${type}`,
      description: `Default time limit: ${timeoutMs / 1000} s.`,
      examples: [example[type]],
      ...closed,
    },
  );
}

export interface CommandCreationBody {
  type: OperatorCommandType;
  args?: unknown;
  target: Static<typeof Target>;
  ttl?: number;
  expiresAt?: string;
  timeout?: number;
  collapseKey?: string | null;
  offline?: 'queue' | 'skip';
  secret?: boolean;
}

export const CommandCreation = Type.Unsafe<CommandCreationBody>({
  title: 'CommandCreation',
  type: 'object',
  required: ['type'],
  discriminator: { propertyName: 'type' },
  oneOf: OPERATOR_COMMAND_TYPES.map(creationOf),
});

export const CreationHeaders = Type.Object({
  'idempotency-key': Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 128,
      pattern: '^[\\u0021-\\u007e]+$',
      description:
        'Makes a repeated request harmless: the same key with the same body returns the command that ' +
        'the first request created.',
    }),
  ),
});

const CountsSchema = Type.Object(
  {
    ...(Object.fromEntries(
      EXECUTION_STATES.map((state) => [state, Count(`Executions that are ${state}.`)]),
    ) as Record<(typeof EXECUTION_STATES)[number], ReturnType<typeof Count>>),
    total: Count('All executions created so far; final once `expanded`.'),
  },
  { $id: 'StateCounts', ...closed },
);

const ExecutionState = OneOf(EXECUTION_STATES, {
  description:
    'queued -> sent -> acked -> running -> succeeded, failed or rejected; canceled, expired, timed-out ' +
    'and superseded end it early. A device that ends at once is neither acked nor running before.',
});
const TypeName = OneOf(COMMAND_TYPE_NAMES, { description: 'Command type.' });

export const CommandSchema = Type.Object(
  {
    id: Id('Identifier of the command; later ones sort after earlier ones.', 'c01jb3v8x5c0k2m5n9r3'),
    type: TypeName,
    args: Type.Unknown({
      description: 'Arguments, as the type requires; the text `secret` for a secret command.',
    }),
    secret: Type.Boolean({ description: 'Whether arguments and results are secret.' }),
    target: Type.Unsafe<{ devices: string[] } | { group: string }>({
      description: 'The named devices, or the group; all devices are the group `all`.',
      oneOf: [
        Type.Object({ devices: Type.Array(Type.String()) }, closed),
        Type.Object({ group: Type.String() }, closed),
      ],
    }),
    offline: OneOf(['queue', 'skip'] as const),
    collapseKey: Nullable(
      Type.String({
        description: 'A newer command with this key supersedes this one where it is not delivered.',
      }),
    ),
    issuedAt: Time('When it was accepted.'),
    expiresAt: Time('Deliver by.'),
    timeout: Type.Number({ description: 'Finish within this many seconds of the acknowledgement.' }),
    createdBy: Type.String({ description: 'Id of the API token that created it.' }),
    expanded: Type.Boolean({ description: 'Whether an execution exists for every device.' }),
    cancelRequestedAt: Nullable(Time('When its cancellation was requested.')),
    finishedAt: Nullable(Time('When the last execution became final.')),
    counts: Type.Unsafe<Static<typeof CountsSchema>>({ $ref: 'StateCounts#' }),
  },
  { $id: 'Command', ...closed, description: 'A command to devices.' },
);
export type CommandDocument = Static<typeof CommandSchema>;

export const ExecutionSchema = Type.Object(
  {
    commandId: Id('The command.', 'c01jb3v8x5c0k2m5n9r3'),
    deviceId: Id('The device.', 'd4x1pq0w8z7k2m5n'),
    type: TypeName,
    secret: Type.Boolean({
      description: 'Whether the command is secret: `reason` and `data` are read with `reveal` alone.',
    }),
    state: ExecutionState,
    reason: Nullable(
      Type.String({ description: 'Why it ended this way; `null` if a device gave it as a secret.' }),
    ),
    data: Type.Optional(
      Type.Unknown({
        description:
          'What the device returned; `null` for nothing. Lists leave it out unless requested with ' +
          '`data=true`.',
      }),
    ),
    percent: Nullable(Type.Integer({ minimum: 0, maximum: 100, description: 'Progress.' })),
    note: Nullable(Type.String({ description: 'Progress as text.' })),
    attempts: Count('How often it was sent to a gateway.'),
    issuedAt: Time('When the command was accepted.'),
    expiresAt: Time('Deliver by.'),
    sentAt: Nullable(Time('When it was last sent to a gateway.')),
    ackedAt: Nullable(Time('When the device acknowledged it, or sent a result without that.')),
    startedAt: Nullable(Time('When the device began to run it.')),
    finishedAt: Nullable(Time('When it became final.')),
    finishBy: Nullable(Time('Finish-by time, known from the acknowledgement on.')),
    late: Nullable(
      Type.Object(
        {
          state: OneOf(FINAL_STATES),
          reason: Nullable(Type.String()),
          at: Time('When the gateway received it.'),
          inTime: Type.Boolean({
            description:
              'Whether the gateway received it by the moment at which the ledger ended the execution.',
          }),
        },
        { ...closed, description: 'What the device reported after the ledger had ended the execution.' },
      ),
    ),
  },
  { $id: 'Execution', ...closed, description: 'A command on one device.' },
);
export type ExecutionDocument = Static<typeof ExecutionSchema>;
export { CountsSchema };

export const CommandQuery = Type.Object(
  {
    ...pageQuery,
    type: Type.Optional(TypeName),
    state: Type.Optional(
      OneOf(['open', 'finished'] as const, { description: '`open`: some execution is not final.' }),
    ),
    device: Type.Optional(Id('Only commands with an execution on this device.', 'd4x1pq0w8z7k2m5n')),
    ...spanQuery('issued'),
  },
  closed,
);

/** Items of a page with `data`, which takes up to 32 kB each. */
export const DATA_PAGE_MAX = 25;

const executionQuery = {
  ...pageQuery,
  state: Type.Optional(ExecutionState),
  finishedSince: Type.Optional(Time('Only those that became final at this time or later.')),
  finishedUntil: Type.Optional(Time('Only those that became final before this time.')),
  data: Type.Boolean({
    default: false,
    description:
      `Include what devices returned: a page then has at most ${DATA_PAGE_MAX} items, whatever \`limit\` ` +
      'says.',
  }),
};

/** Executions of one command. */
export const ExecutionQuery = Type.Object(executionQuery, closed);
/** Executions of one device: its commands were issued at different times. */
export const DeviceExecutionQuery = Type.Object({ ...executionQuery, ...spanQuery('issued') }, closed);

type ExecutionQueryValues = Static<typeof ExecutionQuery> & Partial<Static<typeof DeviceExecutionQuery>>;

/** The query for the store. */
export function executionSelection(query: ExecutionQueryValues) {
  const { limit: most, cursor, data, state, finishedSince, finishedUntil } = query;
  const finished = spanOf({
    ...(finishedSince !== undefined && { since: finishedSince }),
    ...(finishedUntil !== undefined && { until: finishedUntil }),
  });
  const bounded = Object.keys(finished).length > 0;
  return {
    filter: { ...(state !== undefined && { state }), ...(bounded && { finished }), ...spanOf(query) },
    page: { limit: data ? Math.min(most, DATA_PAGE_MAX) : most, cursor },
    data,
  };
}

export const ExecutionParams = Type.Object(
  {
    id: Id('The command.', 'c01jb3v8x5c0k2m5n9r3'),
    deviceId: Id('The device.', 'd4x1pq0w8z7k2m5n'),
  },
  closed,
);

export const Cancellation = Type.Unsafe<{ force?: boolean } | null>({
  title: 'Cancellation',
  type: ['object', 'null'],
  additionalProperties: false,
  properties: {
    force: Type.Boolean({
      default: false,
      description:
        'Also end executions that devices have acknowledged at once, without waiting for the devices.',
    }),
  },
});
