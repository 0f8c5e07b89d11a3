/**
 * The `data` of each type of event in the event stream. `event` repeats the type, so that `data` alone
 * identifies it.
 */
import { type TSchema, Type } from 'typebox';
import { COMMAND_TYPE_NAMES } from '../../../protocol/command-types.ts';
import { COMPLIANCE, EXECUTION_STATES } from '../../../protocol/index.ts';
import { ROTATION_PHASES } from './authority.ts';
import { Count, closed, Id, Name, OneOf, Time } from './common.ts';

const device = { id: Id('The device.', 'd4x1pq0w8z7k2m5n') };
const group = { id: Id('The group.', 'berlin') };
const parent = { parentId: Id('The group it is in.', 'emea') };
const groupName = { name: Name('Its name.', 'Berlin') };
const command = { id: Id('The command.', 'c01jb3v8x5c0k2m5n9r3') };
const rotation = { phase: OneOf(ROTATION_PHASES, { description: 'The phase it is in now.' }) };
const gateway = { name: Id('The gateway.', 'gw1') };
const server = { name: Id('The administration server.', 'admin2') };
const worker = {
  ...gateway,
  worker: Type.String({ description: 'The worker.', examples: ['gw1/0'] }),
  incarnation: Type.String({ description: 'Changes whenever the worker restarts.' }),
};
const DeviceIds = (description: string) => Type.Array(Id('Device.', 'd4x1pq0w8z7k2m5n'), { description });
const deviceName = { name: Type.String({ description: 'Its name.', examples: ['kiosk-17'] }) };

const tunnel = {
  id: Id('The tunnel.', 'u01jb3v8x5c0k2m5n9r3'),
  deviceId: Id('The device.', 'd4x1pq0w8z7k2m5n'),
  host: Type.String({ description: 'Where the device connects to.' }),
  port: Type.Integer({ minimum: 1, maximum: 65_535, description: 'TCP port.' }),
  createdBy: Type.String({ description: 'Id of the API token that opened it.' }),
  gateway: Type.Optional(Type.String({ description: 'The gateway that carries it, if there is one.' })),
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
    'Executions entered these states.',
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
      connected: DeviceIds('Devices with a newer session; they may have been connected already.'),
      disconnected: DeviceIds('Devices without a session.'),
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
        { description: 'Devices with a newer status.' },
      ),
    },
  ],
  'device.enrolled': ['A device enrolled.', { ...device, ...deviceName, groupId: group.id }],
  'device.renamed': ['A device was renamed.', { ...device, ...deviceName }],
  'device.displaced': ["Two programs use one device's key.", { ...device, ...deviceName }],
  'device.cloned': [
    "Two programs that use one device's key have answered at the same time.",
    {
      ...device,
      ...deviceName,
      gateways: Type.Array(Type.String(), { description: 'The gateways they answered at.' }),
    },
  ],
  'device.released': ['What was known of copies of a device was deleted.', device],
  'device.split': ['A device was deleted because it had copies.', device],
  'device.key-rotated': ['A device has another key, which it asked for.', device],
  'device.moved': ['A device was moved to another group.', { ...device, groupId: group.id }],
  'device.blocked': ['A device was blocked.', device],
  'device.unblocked': ['A device was unblocked.', device],
  'device.deleted': ['A device was deleted.', device],
  'device.moved-to': [
    'A device was moved to another installation.',
    {
      ...device,
      url: Type.String({ description: 'API of that installation.', examples: ['https://push.example.org'] }),
      fingerprint: Type.String({ description: 'Fingerprint of that installation.' }),
    },
  ],
  'result.refused': [
    'Results arrived that their device did not make; one event a minute at most for each worker.',
    {
      device: Id('Device of the last one.', 'd4x1pq0w8z7k2m5n'),
      command: Id('Command of the last one.', 'c01jb3v8x5c0k2m5n9r3'),
      worker: Type.String({
        description: 'The gateway worker that brought them; `unknown` if no live worker did.',
      }),
      count: Count('How many since the previous such event.'),
    },
  ],
  'status.refused': [
    'Statuses arrived that their device did not make; one event a minute at most for each worker.',
    {
      device: Id('Device of the last one.', 'd4x1pq0w8z7k2m5n'),
      worker: Type.String({
        description: 'The gateway worker that brought them; `unknown` if no live worker did.',
      }),
      count: Count('How many since the previous such event.'),
    },
  ],
  'group.created': ['A group was created.', { ...group, ...groupName, ...parent }],
  'group.renamed': ['A group was renamed.', { ...group, ...groupName }],
  'group.moved': ['A group was moved.', { ...group, ...parent }],
  'group.deleted': ['A group was deleted.', group],
  'gateway.created': ['A gateway was registered.', gateway],
  'gateway.updated': ["A gateway's settings changed.", gateway],
  'gateway.deleted': ['A gateway was deleted.', gateway],
  'gateway.joined': ['A gateway got a certificate for its name.', gateway],
  'gateway.revoked': ['The certificates of a gateway were revoked.', gateway],
  'server.joined': ['An administration server got a certificate for its name.', server],
  'server.revoked': ['The certificates of an administration server were revoked.', server],
  'authority.rotate': ['The next internal authority was made.', rotation],
  'authority.advance': ['A rotation of the internal authority went on.', rotation],
  'authority.rollback': ['A rotation of the internal authority went back.', rotation],
  'gateway.up': ['A worker of a gateway started.', worker],
  'gateway.down': ['A worker of a gateway is gone.', worker],
  'gateway.draining': ['An operator drains a gateway.', gateway],
  'gateway.drained': ['The last device has left a drained gateway.', gateway],
  'gateway.drain-canceled': ['An operator cancelled the drain of a gateway.', gateway],
  'keys.changed': [
    'The keys that sign for the installation changed, or are about to change.',
    {
      what: OneOf(['rotated', 'used', 'copied', 'retired', 'root-replaced', 'signed', 'pending'] as const, {
        description:
          '`rotated`: devices learn of the next signing key; `used`: it signs now; `copied`: ' +
          'gateways have nothing left that a previous key signed; `retired`: those keys no longer count; ' +
          '`root-replaced`: there is another root key; `signed`: a root key kept elsewhere signed the ' +
          'change; `pending`: the change waits for that.',
      }),
      epoch: Count('With the revision, the number of the document in force.'),
      revision: Count('See `epoch`.'),
    },
  ],
  'tunnel.created': [
    'A tunnel was requested.',
    {
      ...tunnel,
      reason: Type.String({ description: 'Why it is opened.' }),
      ended: Type.Optional(Type.String({ description: 'Code of its end, if it ended at once.' })),
    },
  ],
  'tunnel.opened': ['Both ends of a tunnel are connected for the first time.', tunnel],
  'tunnel.moved': [
    'A tunnel moved to another worker.',
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
    'A gateway refused somebody at a tunnel.',
    {
      ...tunnel,
      side: OneOf(['device', 'operator'] as const, { description: 'The end that they wanted to join as.' }),
      why: Type.String({ description: 'What was wrong with the ticket.' }),
      address: Type.Optional(Type.String({ description: 'Address that it came from.' })),
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
    'The events after `Last-Event-ID` are no longer stored: read again the state that you derive from them.',
    { first: Count('Number of the first stored event.'), last: Count('Number of the last one.') },
  ],
};

const nameOf = (type: string) => `Event_${type}`;

/** One schema for each type, and the union that distinguishes them. */
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
