import { type Static, Type } from 'typebox';
import { closed, Id, Nullable, Ref, Time } from './common.ts';
import { Fingerprint, GatewayCertificateSchema, WEEK_S } from './joins.ts';

const ServerName = Id('Name of the administration server.', 'admin2');
const RequestId = Type.String({
  pattern: '^[0-9a-f]{64}$',
  description: 'SHA-256 of the request, hexadecimal.',
});

export const ServerSchema = Type.Object(
  {
    name: ServerName,
    running: Type.Boolean({ description: 'Whether it ran within the last five minutes.' }),
    certificate: Ref(GatewayCertificateSchema),
  },
  {
    $id: 'Server',
    ...closed,
    description: 'An administration server that joined, with its newest certificate.',
  },
);
export type ServerDocument = Static<typeof ServerSchema>;

export const ServersSchema = Type.Object(
  { items: Type.Array(Ref(ServerSchema), { description: 'In the order of their names.' }) },
  { $id: 'Servers', ...closed },
);

export const ServerParams = Type.Object({ name: ServerName }, closed);

const token = {
  id: Id('Identifier of the token; not the token itself.', 'j4x1pq0w8z7k2m5n'),
  server: ServerName,
  expiresAt: Time('When it ends.'),
  createdAt: Time('When it was created.'),
  createdBy: Type.String({ description: 'Id of the API token that created it.' }),
  usedAt: Nullable(Time('When its server joined.')),
  revokedAt: Nullable(Time('When it was revoked.')),
};

export const ServerJoinTokenSchema = Type.Object(token, {
  $id: 'ServerJoinToken',
  ...closed,
  description: 'The right of one administration server to join, once.',
});
export type ServerJoinTokenDocument = Static<typeof ServerJoinTokenSchema>;

export const NewServerJoinTokenSchema = Type.Object(
  {
    ...token,
    token: Type.String({
      pattern: '^pps1\\.[A-Za-z0-9._-]+$',
      description: 'The token itself. It is shown only once; the server stores its public key.',
    }),
  },
  { $id: 'NewServerJoinToken', ...closed },
);

export const ServerJoinTokenCreation = Type.Object(
  {
    server: ServerName,
    ttl: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: WEEK_S,
        default: 3_600,
        description: 'How long it is valid, seconds.',
      }),
    ),
  },
  { title: 'ServerJoinTokenCreation', ...closed },
);

export const ServerJoinRequestSchema = Type.Object(
  {
    id: RequestId,
    fingerprint: Type.String({
      description: 'The beginning of `id`, in groups of four digits, as the server shows it.',
    }),
    server: Id('The name that it asks for. Only the fingerprint says who asks.', 'admin2'),
    askedAt: Time('When the server made it.'),
    ours: Type.Boolean({
      description: 'Whether it asks this installation; one that does not cannot be approved.',
    }),
  },
  { $id: 'ServerJoinRequest', ...closed, description: 'An administration server that waits for approval.' },
);
export type ServerJoinRequestDocument = Static<typeof ServerJoinRequestSchema>;

export const ServerJoinRequestsSchema = Type.Object(
  {
    installation: Fingerprint,
    items: Type.Array(Ref(ServerJoinRequestSchema), { description: 'The requests that wait now.' }),
  },
  { $id: 'ServerJoinRequests', ...closed },
);

export const RevokedServerSchema = Type.Object(
  {
    server: ServerName,
    serials: Type.Array(Type.String(), { description: 'Serial numbers that were valid until now.' }),
  },
  { $id: 'RevokedServer', ...closed },
);
