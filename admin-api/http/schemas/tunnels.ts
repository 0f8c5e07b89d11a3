import { type Static, Type } from 'typebox';
import { LIMITS, TUNNEL_LIMITS } from '../../../protocol/index.ts';
import { TUNNEL_STATES } from '../../store/records.ts';
import { DEFAULT_TUNNEL_HOST } from '../../tunnels/targets.ts';
import { Count, closed, Id, Nullable, OneOf, PLAIN_TEXT, pageQuery, Time } from './common.ts';
import { spanQuery } from './time-span.ts';

const Port = Type.Integer({ minimum: 1, maximum: 65_535, description: 'TCP port.', examples: [22] });

const Host = (description: string) =>
  Type.String({
    minLength: 1,
    maxLength: TUNNEL_LIMITS.hostLength,
    pattern: '^[A-Za-z0-9:][A-Za-z0-9._:-]*$',
    description,
    examples: [DEFAULT_TUNNEL_HOST],
  });

const Reason = Type.String({
  maxLength: 256,
  pattern: PLAIN_TEXT,
  description: 'Why it is opened, for the audit trail.',
  examples: ['ticket 4711: printer is stuck'],
});

const End = Type.Object(
  {
    code: Type.String({
      description:
        'For programs. `closed`, `operator-left`, `device-left`, `idle`, `life`, `bytes`: an ordinary ' +
        'end, or a limit; `refused`: by the device; `device-offline`, `device-failed`, ' +
        '`device-blocked`, `device-deleted`, `no-gateway`, `not-joined`: it never opened; ' +
        '`gateway-lost`, `gateway-left`: the gateway died, or stopped; `operator-revoked`: the API ' +
        'token ended; `protocol`: an end broke the protocol; `forged`: what passed was changed or made up ' +
        'between the two ends.',
      examples: ['closed'],
    }),
    reason: Type.String({ description: 'In a sentence.' }),
  },
  { ...closed, description: 'Why it ended.' },
);

export const TunnelSchema = Type.Object(
  {
    id: Id('Identifier of the tunnel; later ones sort after earlier ones.', 'u01jb3v8x5c0k2m5n9r3'),
    deviceId: Id('The device.', 'd4x1pq0w8z7k2m5n'),
    host: Host('Host that the device connects to; usually itself.'),
    port: Port,
    reason: Reason,
    state: OneOf(TUNNEL_STATES, {
      description:
        '`opening`: not both ends have joined yet; `open`: both have; `ended`: finally, and `end` says why.',
    }),
    end: Nullable(End),
    createdBy: Type.String({ description: 'Id of the API token that opened it.' }),
    createdAt: Time('When it was requested.'),
    openedAt: Nullable(Time('When both ends were first connected.')),
    endedAt: Nullable(Time('When it ended.')),
    expiresAt: Time('When its time limit ends it.'),
    gateway: Nullable(Type.String({ description: 'The gateway that carries it; `null` if none did.' })),
    worker: Nullable(Type.String({ description: 'Worker of that gateway.', examples: ['gw1/0'] })),
    moves: Count('How often it moved to another worker.'),
    deviceHere: Type.Boolean({ description: "Whether the device's end is connected." }),
    operatorHere: Type.Boolean({ description: "Whether the operator's end is connected." }),
    streams: Count('Connections through it, as the device last reported.'),
    bytesUp: Count('Bytes from the device; the count is at most ten seconds old.'),
    bytesDown: Count('Bytes to the device.'),
    refusedJoins: Count('How often somebody was refused because of a wrong, used or late ticket.'),
  },
  { $id: 'Tunnel', ...closed, description: 'A port on a device, reached through a gateway.' },
);
export type TunnelDocument = Static<typeof TunnelSchema>;

export const OpenedTunnelSchema = Type.Object(
  {
    tunnel: Type.Unsafe<TunnelDocument>({ $ref: 'Tunnel#' }),
    join: Nullable(
      Type.Object(
        {
          gateway: Type.Object(
            { name: Type.String(), url: Type.String({ maxLength: LIMITS.urlLength }) },
            { ...closed, description: 'Where to dial (PROTOCOL.md, section T).' },
          ),
          worker: Type.Integer({ minimum: 0, description: 'Number of the worker; send it when joining.' }),
          ticket: Type.String({
            pattern: `^[A-Za-z0-9_-]{${TUNNEL_LIMITS.secretLength}}$`,
            description: 'Ticket for one join as the operator. It is shown only once.',
          }),
          key: Nullable(
            Type.String({
              pattern: '^[A-Za-z0-9_-]{43}$',
              description:
                'Key of the tunnel, which no gateway gets. It is shown only once. `null` after a move of ' +
                'an open tunnel: the key stays the same.',
            }),
          ),
          expiresAt: Time('Join before this time.'),
        },
        { ...closed, description: "How the operator's end joins; `null` if the tunnel has already ended." },
      ),
    ),
  },
  { $id: 'OpenedTunnel', ...closed },
);
export type OpenedTunnelDocument = Static<typeof OpenedTunnelSchema>;

export const TunnelCreation = Type.Object(
  {
    deviceId: Id('The device.', 'd4x1pq0w8z7k2m5n'),
    port: Port,
    host: Type.Optional({
      ...Host(
        'Host that the device connects to. Any but the device itself needs the role admin, and a ' +
          'device that allows it.',
      ),
      default: DEFAULT_TUNNEL_HOST,
    }),
    reason: Type.Optional({ ...Reason, default: '' }),
    timeLimit: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 30 * 86_400,
        description: 'Time limit in seconds; without it, the limit of the server.',
      }),
    ),
  },
  { title: 'TunnelCreation', ...closed },
);

export const TunnelClosing = Type.Object(
  {
    code: Type.Optional({
      ...OneOf(['closed', 'forged'] as const, {
        description:
          "Why. `forged`: the operator's end found that what passed was changed or made up on the way.",
      }),
      default: 'closed',
    }),
  },
  closed,
);

export const TunnelQuery = Type.Object(
  {
    ...pageQuery,
    device: Type.Optional(Id('Only tunnels to this device.', 'd4x1pq0w8z7k2m5n')),
    state: Type.Optional(
      OneOf(['live', ...TUNNEL_STATES] as const, { description: '`live`: opening or open.' }),
    ),
    createdBy: Type.Optional(Id('Only tunnels that the API token with this id opened.', 't4x1pq0w8z7k2m5n')),
    ...spanQuery('asked for'),
  },
  closed,
);
