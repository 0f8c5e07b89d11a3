import { type Static, Type } from 'typebox';
import { LIMITS } from '../../../protocol/index.ts';
import { GATEWAY_STATES } from '../../balance/fleet.ts';
import { DEFAULT_CONNECTION_LIMIT, DEFAULT_PUSH_PORT } from '../../services/gateway-service.ts';
import { Count, closed, Id, Nullable, OneOf, pageQuery, Time } from './common.ts';

const GatewayName = Id('Name of the gateway.', 'gw1');
const settings = {
  groupId: Id('The group it serves, with all subgroups.', 'emea'),
  runPushServer: Type.Boolean({ description: 'Whether it serves devices.' }),
  port: Type.Integer({ minimum: 1, maximum: 65_535, description: 'Push server port.' }),
  address: Type.String({
    minLength: 1,
    maxLength: LIMITS.urlLength,
    description:
      'Address for remote hosts: the URL devices dial, `ws` or `wss`, with host and port and nothing else.',
    examples: ['wss://gw1.example.net:13295'],
  }),
  connectionLimit: Type.Integer({
    minimum: 1,
    maximum: 1_000_000,
    description: 'Most devices at a time.',
  }),
};

const LEAVING_REASONS = ['drain', 'off', 'port', 'stop'] as const;
const Leaving = Type.Object(
  {
    why: OneOf(LEAVING_REASONS, {
      description:
        '`drain`: an operator drains it; `off`: it was switched off; `port`: devices of its old port; ' +
        '`stop`: it stops.',
    }),
    left: Count('Devices that have not left yet.'),
  },
  { ...closed, description: 'Present while it sends devices away.' },
);

const milliseconds = (description: string) => Type.Number({ minimum: 0, description });
const RoundTrip = Type.Object(
  { p50: milliseconds('The median.'), p90: milliseconds('90 %.'), p99: milliseconds('99 %.') },
  { ...closed, description: 'Round trips of pings to a sample of its devices, milliseconds.' },
);

const admissionRate = Type.Number({
  minimum: 0,
  description: 'Recent rate of admissions, devices per second.',
});

const WorkerSchema = Type.Object(
  {
    worker: Type.String({
      description: 'Name of the worker: the gateway and a number.',
      examples: ['gw1/0'],
    }),
    incarnation: Type.String({ description: 'Changes whenever the worker restarts.' }),
    host: Type.String({ description: 'Name of the machine it runs on.' }),
    pid: Type.Integer({ description: 'Its process.' }),
    version: Type.String({ description: 'Version of Pushpoint it runs.' }),
    connections: Count('Devices connected to it.'),
    limit: Count('Most devices it accepts.'),
    admissionRate,
    bufferedBytes: Count('Bytes queued for slow devices.'),
    memoryBytes: Count('Resident memory.'),
    cpu: Type.Number({ minimum: 0, description: 'Share of one core, 0 to 1.' }),
    revision: Count('Revision of the settings it uses; 0 for those it was started with.'),
    roundTripMs: Type.Optional(RoundTrip),
    port: Type.Optional(Type.Integer({ description: 'Port it listens on; absent while it does not.' })),
    leaving: Type.Optional(Leaving),
    problem: Type.Optional(Type.String({ description: 'Which setting it cannot apply, and why.' })),
  },
  { $id: 'Worker', ...closed, description: 'One process of a gateway.' },
);

export const GatewaySchema = Type.Object(
  {
    name: GatewayName,
    ...settings,
    revision: Count('Grows with every change of the settings.'),
    told: Nullable(
      Type.String({
        description:
          'The URL that devices get: `address` once a worker listens there, until then the previous ' +
          'one; `null` if no worker ever listened.',
      }),
    ),
    formerPorts: Type.Array(
      Type.Object(
        {
          port: Type.Integer({ minimum: 1, maximum: 65_535 }),
          until: Time('When it stops listening there.'),
        },
        closed,
      ),
      { description: 'Former ports, from which it redirects devices.' },
    ),
    state: OneOf(GATEWAY_STATES, {
      description:
        '`up`: it serves; `starting`: it does not listen yet; `problem`: a worker cannot do what the ' +
        'settings say; `draining`: an operator drains it; `drained`: the last device has left; ' +
        '`leaving`: its devices are sent away because it was switched off or stops; `off`: switched ' +
        'off; `down`: no worker of it is alive.',
    }),
    problem: Type.Optional(
      Type.String({ description: 'Which setting one of its workers cannot apply, and why.' }),
    ),
    applied: Type.Boolean({ description: 'Whether every worker uses the newest settings.' }),
    draining: Type.Boolean({ description: 'Whether an operator drains it.' }),
    drainingSince: Nullable(Time('When the drain began.')),
    drainedAt: Nullable(Time('When the last device had left in this drain.')),
    leaving: Type.Optional(Leaving),
    onTheWay: Type.Optional(
      Count('While it is drained: devices that it sent away and that no gateway serves yet.'),
    ),
    load: Type.Object(
      {
        connections: Count('Devices connected.'),
        limit: Count('Most devices that its workers accept, all together.'),
        admissionRate,
        roundTripMs: Type.Optional(RoundTrip),
        cpu: Type.Number({ minimum: 0, description: 'Cores used.' }),
        memoryBytes: Count('Resident memory.'),
        bufferedBytes: Count('Bytes queued for slow devices.'),
      },
      { ...closed, description: 'Its workers together.' },
    ),
    connections: Count('Devices connected, as its workers report now.'),
    connectedOnRecord: Count('Devices recorded as connected to it.'),
    workers: Type.Array(Type.Unsafe<Static<typeof WorkerSchema>>({ $ref: 'Worker#' }), {
      description: 'Its live workers.',
    }),
    createdAt: Time('When it was registered.'),
    updatedAt: Time('When its settings last changed.'),
  },
  { $id: 'Gateway', ...closed, description: 'A distribution point that runs the push server.' },
);
export type GatewayDocument = Static<typeof GatewaySchema>;
export { WorkerSchema };

export const GatewayParams = Type.Object({ name: GatewayName }, closed);
export const GatewayQuery = Type.Object({ ...pageQuery }, closed);

export const GatewayCreation = Type.Object(
  {
    name: GatewayName,
    address: settings.address,
    groupId: Type.Optional({ ...settings.groupId, default: 'all' }),
    runPushServer: Type.Optional({ ...settings.runPushServer, default: true }),
    port: Type.Optional({ ...settings.port, default: DEFAULT_PUSH_PORT }),
    connectionLimit: Type.Optional({ ...settings.connectionLimit, default: DEFAULT_CONNECTION_LIMIT }),
  },
  { title: 'GatewayCreation', ...closed },
);

export const GatewayChange = Type.Object(
  {
    groupId: Type.Optional(settings.groupId),
    runPushServer: Type.Optional(settings.runPushServer),
    port: Type.Optional(settings.port),
    address: Type.Optional(settings.address),
    connectionLimit: Type.Optional(settings.connectionLimit),
  },
  { title: 'GatewayChange', minProperties: 1, ...closed },
);
