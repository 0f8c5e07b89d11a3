import { type Static, Type } from 'typebox';
import { SERVER_LIMITS } from '../../../protocol/index.ts';
import {
  Base64Url,
  Count,
  closed,
  Id,
  KeyDocumentsSchema,
  Nullable,
  PLAIN_TEXT,
  Signature,
  Time,
} from './common.ts';

export const DAY_S = 86_400;
export const YEAR_S = 365 * DAY_S;

const enrolmentToken = {
  id: Id('Identifier of the token; not the token itself.', 'e4x1pq0w8z7k2m5n'),
  groupId: Id('Devices that use it enrol into this group.', 'berlin'),
  note: Type.String({ description: 'Its purpose.' }),
  usesLeft: Count('How many devices it can still enrol.'),
  usesMax: Count('How many devices it was created for.'),
  expiresAt: Time('When it ends.'),
  createdAt: Time('When it was created.'),
  createdBy: Type.String({ description: 'Id of the API token that created it.' }),
  revokedAt: Nullable(Time('When it was revoked.')),
};

export const EnrolmentTokenSchema = Type.Object(enrolmentToken, {
  $id: 'EnrolmentToken',
  ...closed,
  description: 'A right to enrol devices into one group.',
});
export type EnrolmentTokenDocument = Static<typeof EnrolmentTokenSchema>;

export const NewEnrolmentTokenSchema = Type.Object(
  {
    ...enrolmentToken,
    token: Type.String({
      pattern: '^pp1\\.[a-z0-9]+\\.[A-Za-z0-9_-]{43}\\.[A-Za-z0-9_-]{43}$',
      description:
        'The token itself (PROTOCOL.md, E-1). It is shown only once: the server stores a public key.',
    }),
  },
  { $id: 'NewEnrolmentToken', ...closed },
);

export const EnrolmentTokenCreation = Type.Object(
  {
    groupId: Type.Optional({ ...Id('Devices enrol into this group.', 'berlin'), default: 'all' }),
    uses: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 1_000_000, default: 1, description: 'How many devices.' }),
    ),
    ttl: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: YEAR_S,
        default: DAY_S,
        description: 'How long it is valid, seconds.',
      }),
    ),
    note: Type.Optional(
      Type.String({ maxLength: 256, pattern: PLAIN_TEXT, default: '', description: 'Its purpose.' }),
    ),
  },
  { title: 'EnrolmentTokenCreation', ...closed },
);

/** A later device may send more members; as in every message of devices, unknown ones are ignored (V-2). */
export const EnrolRequest = Type.Object(
  {
    body: Type.String({
      minLength: 1,
      maxLength: Math.ceil((SERVER_LIMITS.enrolBytes * 4) / 3),
      pattern: '^[A-Za-z0-9_-]+$',
      description: 'The request (PROTOCOL.md, E-2), base64url without padding.',
    }),
    tokenSig: Signature("Signature by the token's key"),
    deviceSig: Signature("Signature by the device's key"),
  },
  { title: 'EnrolRequest' },
);

/** Unknown members are ignored, as in `EnrolRequest`. */
export const LocateRequestSchema = Type.Object(
  {
    device: Id('The device that asks.', 'd4x1pq0w8z7k2m5n'),
    nonce: Type.String({
      pattern: '^[A-Za-z0-9_-]{43}$',
      description: '32 random bytes, base64url without padding.',
    }),
    challenge: Type.Optional(
      Type.String({
        pattern: '^[A-Za-z0-9_-]{51}$',
        description: 'From the answer to the same request without a challenge.',
      }),
    ),
    proof: Type.Optional(
      Type.String({
        pattern: '^[A-Za-z0-9_-]{86}$',
        description: "Signature by the device's key (PROTOCOL.md, G-16), base64url without padding.",
      }),
    ),
  },
  { title: 'LocateRequest' },
);

export const KeyRotationRequest = Type.Object(
  {
    body: Type.String({
      pattern: '^[A-Za-z0-9_-]+$',
      maxLength: 342,
      description: 'Device, its key and the next one (PROTOCOL.md, K-6), base64url without padding.',
    }),
    fromSig: Type.String({ pattern: '^[A-Za-z0-9_-]{86}$', description: 'Signature by its key.' }),
    toSig: Type.String({ pattern: '^[A-Za-z0-9_-]{86}$', description: 'Signature by the next key.' }),
  },
  { title: 'KeyRotationRequest' },
);

function SignedOrderSchema(description: string) {
  return Type.Object(
    { body: Base64Url('Signed body'), sig: Base64Url('Signature') },
    { ...closed, description },
  );
}

export const LocatedSchema = Type.Object(
  {
    challenge: Type.Optional(Base64Url('Text to sign, if the request had no proof')),
    keys: Type.Optional(KeyDocumentsSchema),
    membership: Type.Optional(SignedOrderSchema('Its signed membership (PROTOCOL.md, S-7).')),
    list: Type.Optional(
      SignedOrderSchema('The gateways it may use (PROTOCOL.md, G-18); absent while there are none.'),
    ),
    gateways: Type.Optional(Type.Array(Type.String(), { description: 'Their names, the best first.' })),
    sig: Type.Optional(Base64Url("The answer's signature by the administration server's key")),
  },
  { $id: 'Located', ...closed, description: 'A challenge, or where the device may go (PROTOCOL.md, G-16).' },
);
export type LocatedDocument = Static<typeof LocatedSchema>;

export const EnrolmentSchema = Type.Object(
  {
    keys: KeyDocumentsSchema,
    body: Base64Url('What the device stores (PROTOCOL.md, E-3)'),
    sig: Signature('Signature by one of those keys, over the request and the body'),
  },
  { $id: 'Enrolment', ...closed, description: 'The answer to a device that enrols (PROTOCOL.md, E-3).' },
);
export type EnrolmentDocument = Static<typeof EnrolmentSchema>;
