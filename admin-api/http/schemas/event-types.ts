/**
 * What each type of event says, as `data` of the event stream has it. `event` repeats the type, so that the
 * data alone is told apart.
 */
import { type TSchema, Type } from 'typebox';
import { COMMAND_TYPE_NAMES } from '../../../protocol/command-types.ts';
import { COMPLIANCE, EXECUTION_STATES } from '../../../protocol/index.ts';
import { Count, closed, Id, Name, OneOf, Time } from './common.ts';

const device = { id: Id('The device.', 'd4x1pq0w8z7k2m5n') };
const group = { id: Id('The group.', 'berlin') };
const parent = { parentId: Id('The group it is in.', 'emea') };
const groupName = { name: Name('Its name.', 'Berlin') };
const command = { id: Id('The command.', 'c01jb3v8x5c0k2m5n9r3') };
const gateway = { name: Id('The gateway.', 'gw1') };
const worker = {
  ...gateway,
  worker: Type.String({ description: 'The worker.', examples: ['gw1/0'] }),
  incarnation: Type.String({ description: 'Changes whenever the worker starts anew.' }),
};
const DeviceIds = (description: string) => Type.Array(Id('Device.', 'd4x1pq0w8z7k2m5n'), { description });
const deviceName = { name: Type.String({ description: 'Its name.', examples: ['kiosk-17'] }) };

const tunnel = {
  id: Id('The tunnel.', 'u01jb3v8x5c0k2m5n9r3'),
  deviceId: Id('The device.', 'd4x1pq0w8z7k2m5n'),
  host: Type.String({ description: 'Where the device connects to.' }),
  port: Type.Integer({ minimum: 1, maximum: 65_535, description: 'TCP port.' }),
  createdBy: Type.String({ description: 'Id of the API token it was opened with.' }),
  gateway: Type.Optional(Type.String({ description: 'The gateway that joins it, if one does.' })),
};

const Change = Type.Unsafe<[string, string, (typeof EXECUTION_STATES)[number]]>({
  type: 'array',
  prefixItems: [
    Id('Command.', 'c01jb3v8x5c0k2m5n9r3'),
    Id('Device.', 'd4x1pq0w8z7k2m5n'),
    OneOf(EXECUTION_STATES),
  ],
  items: false,
  minItems: 3,
  maxItems: 3,
});

type Members = Record<string, TSchema>;

/** Description and members by type; all but `reset` have `at` as well. */
const TYPES: Record<string, readonly [description: string, members: Members]> = {
  executions: [
    'Executions came into these states.',
    { changes: Type.Array(Change, { description: 'Command, device and state.' }) },
  ],
  'command.created': [
    'A command was accepted.',
    { ...command, type: OneOf(COMMAND_TYPE_NAMES, { description: 'Command type.' }) },
  ],
  'command.finished': [
    'The last execution of a command became final.',
    { ...command, counts: Type.Unsafe<Record<string, number>>({ $ref: 'StateCounts#' }) },
  ],
  devices: [
    'Devices connected and disconnected.',
    {
      connected: DeviceIds('With a newer session, perhaps connected before.'),
      disconnected: DeviceIds('Without a session now.'),
    },
  ],
  'device.status': [
    'Devices reported policy or compliance.',
    {
      devices: Type.Array(
        Type.Object(
          {
            device: Id('Device.', 'd4x1pq0w8z7k2m5n'),
            policy: Type.Optional(Type.String({ description: 'Policy revision in force on it.' })),
            compliance: Type.Optional(OneOf(COMPLIANCE)),
          },
          closed,
        ),
        { description: 'Those for which something changed.' },
      ),
    },
  ],
  'device.enrolled': ['A device enrolled.', { ...device, ...deviceName, groupId: group.id }],
  'device.renamed': ['A device has another name.', { ...device, ...deviceName }],
  'device.displaced': ["Two programs use one device's key.", { ...device, ...deviceName }],
  'device.moved': ['A device is in another group.', { ...device, groupId: group.id }],
  'device.blocked': ['A device is not admitted any more.', device],
  'device.unblocked': ['A device is admitted again.', device],
  'device.deleted': ['A device was deleted.', device],
  'group.created': ['A group was made.', { ...group, ...groupName, ...parent }],
  'group.renamed': ['A group has another name.', { ...group, ...groupName }],
  'group.moved': ['A group is in another group.', { ...group, ...parent }],
  'group.deleted': ['A group was deleted.', group],
  'gateway.created': ['A gateway was registered.', gateway],
  'gateway.updated': ["A gateway's settings changed.", gateway],
  'gateway.deleted': ['A gateway was deleted.', gateway],
  'gateway.up': ['A worker of a gateway began to live.', worker],
  'gateway.down': ['A worker of a gateway lives no more.', worker],
  'gateway.draining': ['An operator drains a gateway.', gateway],
  'gateway.drained': ['The last device has left a gateway that is drained.', gateway],
  'gateway.drain-canceled': ['An operator canceled the drain of a gateway.', gateway],
  'tunnel.created': [
    'A tunnel was asked for.',
    {
      ...tunnel,
      reason: Type.String({ description: 'Why it is opened.' }),
      ended: Type.Optional(Type.String({ description: 'Code of its end, when it ended at once.' })),
    },
  ],
  'tunnel.opened': ['Both ends of a tunnel are there for the first time.', tunnel],
  'tunnel.moved': [
    'A tunnel goes on at another worker.',
    { ...tunnel, from: Type.Optional(Type.String({ description: 'The gateway it left.' })) },
  ],
  'tunnel.ended': [
    'A tunnel ended.',
    {
      ...tunnel,
      code: Type.Optional(Type.String({ description: 'Why, for programs.' })),
      reason: Type.Optional(Type.String({ description: 'Why, in a sentence.' })),
      bytesUp: Count('Bytes from the device.'),
      bytesDown: Count('Bytes to the device.'),
      openMs: Count('How long it was open, milliseconds.'),
    },
  ],
  'tunnel.join-refused': [
    'Somebody was not let in to a tunnel.',
    {
      ...tunnel,
      side: OneOf(['device', 'operator'] as const, { description: 'The end that was asked for.' }),
      why: Type.String({ description: 'What was wrong with the ticket.' }),
      address: Type.Optional(Type.String({ description: 'Where it came from.' })),
    },
  ],
  'balance.moved': [
    'Devices were sent from one gateway to another.',
    {
      from: Type.String({ description: 'The gateway they left.' }),
      to: Type.String({ description: 'The gateway they were sent to.' }),
      count: Count('How many.'),
    },
  ],
  reset: [
    'What follows `Last-Event-ID` is not kept any more: read anew what you build upon.',
    { first: Count('Number of the first event kept.'), last: Count('Number of the last one.') },
  ],
};

const nameOf = (type: string) => `Event_${type}`;

/** One schema for each type, and the one that tells them apart. */
export const EVENT_SCHEMAS: readonly TSchema[] = [
  ...Object.entries(TYPES).map(([type, [description, members]]) =>
    Type.Object(
      {
        event: Type.Literal(type, { description: 'The type of the event.' }),
        ...(type !== 'reset' && { at: Time('When it happened.') }),
        ...members,
      },
      { $id: nameOf(type), ...closed, description },
    ),
  ),
  Type.Unsafe({
    $id: 'Event',
    description: '`data` of one event of the stream.',
    type: 'object',
    required: ['event'],
    oneOf: Object.keys(TYPES).map((type) => ({ $ref: `${nameOf(type)}#` })),
    discriminator: {
      propertyName: 'event',
      mapping: Object.fromEntries(
        Object.keys(TYPES).map((type) => [type, `#/components/schemas/${nameOf(type)}`]),
      ),
    },
  }),
];
