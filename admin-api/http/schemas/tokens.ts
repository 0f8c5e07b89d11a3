import { type Static, Type } from 'typebox';
import { ROLES } from '../../store/records.ts';
import { closed, Id, Name, Nullable, OneOf, Time } from './common.ts';
import { YEAR_S } from './enrolment.ts';

const Role = OneOf(ROLES, {
  description: 'A viewer reads, an operator also commands devices, an admin changes everything.',
});

const apiToken = {
  id: Id('Identifier of the token; not the token itself.', 't4x1pq0w8z7k2m5n'),
  name: Type.String({ description: 'Who or what uses it.' }),
  role: Role,
  createdAt: Time('When it was created.'),
  createdBy: Type.String({ description: 'Id of the API token that created it, or `system`.' }),
  expiresAt: Nullable(Time('When it ends; `null` for never.')),
  revokedAt: Nullable(Time('When it was revoked.')),
  lastUsedAt: Nullable(Time('When it was last used, to within a minute.')),
};

export const ApiTokenSchema = Type.Object(apiToken, {
  $id: 'ApiToken',
  ...closed,
  description: 'A right to call this API.',
});
export type ApiTokenDocument = Static<typeof ApiTokenSchema>;

export const NewApiTokenSchema = Type.Object(
  {
    ...apiToken,
    token: Type.String({
      pattern: '^ppt_[A-Za-z0-9_-]{32}$',
      description: 'The token itself. It is shown only once; the server stores a hash.',
    }),
  },
  { $id: 'NewApiToken', ...closed },
);

export const ApiTokenCreation = Type.Object(
  {
    name: Name('Who or what will use it.', 'monitoring'),
    role: Role,
    ttl: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 10 * YEAR_S,
        description: 'How long it is valid, seconds; forever if absent.',
      }),
    ),
  },
  { title: 'ApiTokenCreation', ...closed },
);
