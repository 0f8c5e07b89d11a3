import { type Static, Type } from 'typebox';
import { AUTHORITY_STATES } from '../../store/pki-records.ts';
import { closed, OneOf, Time } from './common.ts';

export const ROTATION_PHASES = ['steady', 'introduced', 'used'] as const;

export const AuthoritySchema = Type.Object(
  {
    phase: OneOf(ROTATION_PHASES, {
      description:
        '`steady`: no rotation; `introduced`: the next authority is trusted and not used yet; `used`: it ' +
        'signs, and the old one is still trusted.',
    }),
    authorities: Type.Array(
      Type.Object(
        {
          number: Type.Integer({ minimum: 1, description: 'Counts from 1.' }),
          state: OneOf(AUTHORITY_STATES, { description: 'The `current` one signs.' }),
          fingerprint: Type.String({ description: 'SHA-256 of its certificate, hexadecimal.' }),
          createdAt: Time('When it was made.'),
          expiresAt: Time('When it ends.'),
        },
        closed,
      ),
      { description: 'Those that gateways and administration servers trust.' },
    ),
    waitingFor: Type.Array(Type.String(), {
      description:
        'Gateways, and administration servers as `server NAME`, that run and have not taken up the last ' +
        'step; the next step waits for them.',
    }),
  },
  { $id: 'Authority', ...closed, description: 'The internal authority, and its rotation.' },
);
export type AuthorityDocument = Static<typeof AuthoritySchema>;
