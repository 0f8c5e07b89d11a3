import { type Static, Type } from 'typebox';
import { LIMITS } from '../../../protocol/index.ts';
import { DEFAULT_CONNECTION_LIMIT, DEFAULT_PUSH_PORT } from '../../desks/gateway-desk.ts';
import { Count, closed, Id, OneOf, pageQuery, Time } from './common.ts';

export const GATEWAY_STATES = ['up', 'down', 'off', 'problem'] as const;

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
    description: 'Most devices at the same time.',
  }),
};

const WorkerSchema = Type.Object(
  {
    worker: Type.String({ examples: ['gw1/0'] }),
    incarnation: Type.String({ description: 'Changes whenever the worker starts anew.' }),
    host: Type.String(),
    pid: Type.Integer(),
    version: Type.String(),
    connections: Count('Devices connected to it.'),
    admissionRate: Type.Number({ minimum: 0, description: 'Devices admitted per second, lately.' }),
    bufferedBytes: Count('Bytes waiting for slow devices.'),
    memoryBytes: Count('Resident memory.'),
    cpu: Type.Number({ minimum: 0, description: 'Share of one core, 0 to 1.' }),
    problem: Type.Optional(Type.String({ description: 'Why it does not serve as the settings say.' })),
  },
  { $id: 'Worker', ...closed, description: 'One process of a gateway.' },
);

export const GatewaySchema = Type.Object(
  {
    name: GatewayName,
    ...settings,
    revision: Count('Grows with every change of the settings.'),
    state: OneOf(GATEWAY_STATES, {
      description:
        '`off`: told not to serve; `down`: no worker of it is alive; `problem`: a worker cannot do as told.',
    }),
    problem: Type.Optional(Type.String({ description: 'What is wrong when the state is `problem`.' })),
    connections: Count('Devices connected, as its workers say now.'),
    connectedOnRecord: Count('Devices on record as connected to it.'),
    workers: Type.Array(Type.Unsafe<Static<typeof WorkerSchema>>({ $ref: 'Worker#' })),
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
