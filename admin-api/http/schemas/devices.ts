import { type Static, Type } from 'typebox';
import { COMPLIANCE } from '../../../protocol/index.ts';
import { GATEWAY_STATES } from '../../balance/fleet.ts';
import { Count, closed, Id, Name, Nullable, OneOf, PLAIN_TEXT, pageQuery, Time } from './common.ts';

export const DEVICE_STATES = ['connected', 'disconnected', 'blocked'] as const;

export const DeviceSchema = Type.Object(
  {
    id: Id('Identifier of the device.', 'd4x1pq0w8z7k2m5n'),
    name: Type.String({ description: 'Name for people.', examples: ['kiosk-17'] }),
    groupId: Id('The group it is in.', 'berlin'),
    platform: Type.String({
      description: 'Operating system and processor, as the device reports.',
      examples: ['linux-x64'],
    }),
    software: Type.String({ description: 'Name and version of its software.', examples: ['agent/1.4.0'] }),
    state: OneOf(DEVICE_STATES, { description: '`blocked` even while it is connected.' }),
    gateway: Nullable(Type.String({ description: 'Gateway that it is connected to, or was last.' })),
    worker: Nullable(Type.String({ description: 'Worker of that gateway.', examples: ['gw1/0'] })),
    address: Nullable(Type.String({ description: 'Network address it connected from.' })),
    caps: Type.Array(Type.String(), { description: 'Command types it handles.' }),
    session: Count('Number of its newest session; 0 before the first.'),
    connectedAt: Nullable(Time('Start of its newest session.')),
    disconnectedAt: Nullable(Time('End of its newest ended session.')),
    closeCode: Nullable(Type.Integer({ description: 'Close code of its last ended session.' })),
    closeReason: Nullable(Type.String({ description: 'Reason given with that code.' })),
    policy: Nullable(Type.String({ description: 'Policy revision in force on it.' })),
    compliance: Nullable(OneOf(COMPLIANCE, { description: 'How it complies with that policy.' })),
    displaced: Nullable(
      Type.Object(
        {
          sessions: Count(
            'Number of its sessions that another program with its key ended, each within an hour of ' +
              'the previous one.',
          ),
          lastAt: Time('When it last reported one.'),
          addresses: Type.Array(Type.String(), {
            description: 'Where their sessions came from, the newest first; from the second session on.',
          }),
        },
        { ...closed, description: 'Set when another program used its key; `null` when none ever did.' },
      ),
    ),
    cloned: Nullable(
      Type.Object(
        {
          since: Time('When that was found.'),
          runs: Type.Array(
            Type.Object(
              {
                run: Type.String({ description: 'One start of a program.' }),
                gateway: Type.String({ description: 'The gateway it answered at.' }),
                at: Time('When.'),
              },
              closed,
            ),
            { description: 'The programs that answered.' },
          ),
        },
        {
          ...closed,
          description:
            'Set when two programs, running at the same time, proved to have its key; `null` otherwise.',
        },
      ),
    ),
    blockedAt: Nullable(Time('When it was blocked.')),
    createdAt: Time('When it enrolled.'),
  },
  { $id: 'Device', ...closed, description: 'An enrolled device.' },
);
export type DeviceDocument = Static<typeof DeviceSchema>;

export const DeviceQuery = Type.Object(
  {
    ...pageQuery,
    group: Type.Optional(Id('Only devices in this group or a subgroup of it.', 'emea')),
    state: Type.Optional(OneOf(DEVICE_STATES, { description: 'Only devices in this state.' })),
    gateway: Type.Optional(Id('Only devices connected to this gateway, or last connected to it.', 'gw1')),
    text: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 128,
        pattern: PLAIN_TEXT,
        description: 'Part of the name or id, in any case.',
      }),
    ),
  },
  closed,
);

export const DeviceChange = Type.Object(
  {
    name: Type.Optional(Name('New name.', 'kiosk-17')),
    groupId: Type.Optional(Id('Moves it into this group.', 'berlin')),
    blocked: Type.Optional(
      Type.Boolean({
        description:
          'A blocked device is disconnected and not admitted; its pending commands wait until they expire.',
      }),
    ),
  },
  { title: 'DeviceChange', minProperties: 1, ...closed },
);

export const DeviceDestination = Type.Object(
  {
    url: Type.String({
      maxLength: 512,
      pattern: '^https?://[!-~]+$',
      description: 'URL of the API of the other installation.',
      examples: ['https://push.example.org'],
    }),
    fingerprint: Type.String({
      pattern: '^[A-Za-z0-9_-]{43}$',
      description: 'Fingerprint of that installation: 32 bytes in base64url, without padding.',
      examples: ['BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc'],
    }),
  },
  { title: 'DeviceDestination', ...closed },
);

export const WhyQuery = Type.Object(
  { command: Id('The command asked about.', 'c01jb3v8x5c0k2m5n9r3') },
  closed,
);

export const ExplanationSchema = Type.Object(
  {
    sentence: Type.String({ description: 'Why the execution is in its state, for people.' }),
    code: Type.String({ description: 'The same for programs.', examples: ['device-disconnected'] }),
    data: Type.Record(Type.String(), Type.Unknown(), { description: 'The facts that the sentence states.' }),
  },
  { $id: 'Explanation', ...closed, description: 'Why an execution has not run yet.' },
);

export const PlacementSchema = Type.Object(
  {
    sentence: Type.String({ description: 'Why the device is connected where it is, for people.' }),
    code: OneOf(
      [
        'nearest',
        'displaced',
        'first',
        'only',
        'moved',
        'others-unavailable',
        'chosen',
        'leaving',
        'out-of-scope',
        'offline',
        'no-gateway',
        'blocked',
      ],
      { description: 'The same for programs.' },
    ),
    data: Type.Object(
      {
        gateway: Nullable(Type.String({ description: 'Gateway it is connected to.' })),
        rank: Nullable(
          Type.Integer({ minimum: 1, description: "Position of that gateway in the device's list." }),
        ),
        list: Type.Array(
          Type.Object(
            {
              name: Type.String({ description: 'Name of the gateway.' }),
              weight: Type.Number({
                minimum: 0,
                description: 'Its free capacity in steps; 0 while it admits nobody.',
              }),
              state: OneOf(GATEWAY_STATES),
              ms: Nullable(
                Type.Integer({
                  minimum: 0,
                  description: 'Its distance in milliseconds, as the device reported.',
                }),
              ),
            },
            closed,
          ),
          { description: 'The gateways that the device may use, in its own order.' },
        ),
      },
      { ...closed, description: 'The facts that the sentence states.' },
    ),
  },
  { $id: 'Placement', ...closed, description: 'Why a device is where it is.' },
);
