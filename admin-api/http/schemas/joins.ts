import { type Static, Type } from 'typebox';
import { closed, Id, Nullable, Ref, Time } from './common.ts';

export const WEEK_S = 7 * 86_400;
const GatewayName = Id('Name of the gateway.', 'gw1');
export const Fingerprint = Type.String({
  pattern: '^[A-Za-z0-9_-]{43}$',
  description: 'Fingerprint of this installation, base64url: SHA-256 of its root key.',
});
const RequestId = Type.String({
  pattern: '^[0-9a-f]{64}$',
  description: 'SHA-256 of the request, hexadecimal.',
});

const joinToken = {
  id: Id('Identifier of the token; not the token itself.', 'j4x1pq0w8z7k2m5n'),
  gateway: Id('The gateway that joins with it.', 'gw1'),
  expiresAt: Time('When it ends.'),
  createdAt: Time('When it was created.'),
  createdBy: Type.String({ description: 'Id of the API token that created it.' }),
  usedAt: Nullable(Time('When its gateway joined.')),
  revokedAt: Nullable(Time('When it was revoked.')),
};

export const JoinTokenSchema = Type.Object(joinToken, {
  $id: 'JoinToken',
  ...closed,
  description: 'The right of one gateway to join, once.',
});
export type JoinTokenDocument = Static<typeof JoinTokenSchema>;

export const NewJoinTokenSchema = Type.Object(
  {
    ...joinToken,
    token: Type.String({
      pattern: '^ppg1\\.[A-Za-z0-9._-]+$',
      description: 'The token itself. It is shown only once; the server stores its public key.',
    }),
  },
  { $id: 'NewJoinToken', ...closed },
);

export const JoinTokenCreation = Type.Object(
  {
    gateway: GatewayName,
    ttl: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: WEEK_S,
        default: 3_600,
        description: 'How long it is valid, seconds.',
      }),
    ),
  },
  { title: 'JoinTokenCreation', ...closed },
);

export const JoinRequestSchema = Type.Object(
  {
    id: RequestId,
    fingerprint: Type.String({
      description: 'The beginning of `id`, in groups of four digits, as the gateway shows it.',
    }),
    gateway: Id('The name that it asks for. Only the fingerprint says who asks.', 'gw1'),
    askedAt: Time('When the gateway made it.'),
    ours: Type.Boolean({
      description: 'Whether it asks this installation; one that does not cannot be approved.',
    }),
  },
  { $id: 'JoinRequest', ...closed, description: 'A gateway that waits for approval.' },
);
export type JoinRequestDocument = Static<typeof JoinRequestSchema>;

export const JoinRequestsSchema = Type.Object(
  {
    installation: Fingerprint,
    items: Type.Array(Ref(JoinRequestSchema), { description: 'The requests that wait now.' }),
  },
  { $id: 'JoinRequests', ...closed },
);

export const JoinRequestParams = Type.Object({ id: RequestId }, closed);

export const GatewayCertificateSchema = Type.Object(
  {
    serial: Type.String({ description: 'Serial number, hexadecimal.' }),
    authority: Type.Integer({ minimum: 1, description: 'Number of the authority that signed it.' }),
    issuedAt: Time('When it was issued.'),
    expiresAt: Time('When it ends.'),
    revokedAt: Nullable(Time('When it was revoked.')),
  },
  {
    $id: 'GatewayCertificate',
    ...closed,
    description: 'A certificate that identifies a gateway or an administration server.',
  },
);
export type GatewayCertificateDocument = Static<typeof GatewayCertificateSchema>;

export const GatewayCertificatesSchema = Type.Object(
  { items: Type.Array(Ref(GatewayCertificateSchema), { description: 'All certificates issued to it.' }) },
  { $id: 'GatewayCertificates', ...closed },
);

export const RevokedSchema = Type.Object(
  {
    gateway: GatewayName,
    serials: Type.Array(Type.String(), { description: 'Serial numbers that were valid until now.' }),
  },
  { $id: 'RevokedCertificates', ...closed },
);
