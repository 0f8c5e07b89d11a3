import { type Static, Type } from 'typebox';
import { Count, closed, Nullable, OneOf, Time } from './common.ts';

function Bytes(count: number, description: string) {
  const length = Math.ceil((count * 8) / 6);
  return Type.String({ pattern: `^[A-Za-z0-9_-]{${length}}$`, description: `${description}, base64url.` });
}

function Body(description: string) {
  return Type.String({ pattern: '^[A-Za-z0-9_-]+$', maxLength: 700, description });
}

export const ServerKeysSchema = Type.Object(
  {
    fingerprint: Bytes(32, 'Of the installation: SHA-256 of its root key'),
    epoch: Count('With the revision, the edition of the current document.'),
    revision: Count('Grows with every change.'),
    document: Body('The current document as signed, base64url (protocol rule K-1).'),
    sig: Bytes(64, 'The signature of the document by the root key'),
    root: Type.Object(
      {
        publicKey: Bytes(32, 'The root key'),
        kept: OneOf(['here', 'elsewhere'], { description: '`here`: in the database.' }),
      },
      { ...closed, description: 'The key that signs the document.' },
    ),
    signing: Type.Array(
      Type.Object(
        {
          publicKey: Bytes(32, 'A signing key'),
          state: OneOf(['previous', 'active', 'next'], {
            description:
              'Devices trust all. `active` signs; `next` will, once all gateways carry the document; ' +
              '`previous` may be retired.',
          }),
        },
        closed,
      ),
      { description: 'The keys that devices trust, the oldest first.' },
    ),
    activeSince: Time('Since when the active key signs.'),
    waitingFor: Type.Array(Type.String(), {
      description: 'Gateway workers that do not carry the current document yet.',
    }),
    notRetirable: Nullable(Type.String({ description: 'Why previous keys cannot be retired now.' })),
    pending: Nullable(Body('The next document, which waits for signatures by root keys, base64url.')),
  },
  { $id: 'ServerKeys', ...closed, description: 'The keys that sign for the installation.' },
);
export type ServerKeysDocument = Static<typeof ServerKeysSchema>;

export const RootReplacement = Type.Object(
  {
    publicKey: Type.Optional(
      Bytes(32, 'The next root key, if it is kept elsewhere; the server makes one if absent'),
    ),
  },
  { title: 'RootReplacement', ...closed },
);

export const KeySignatures = Type.Object(
  {
    body: Body('The pending document, base64url.'),
    sig: Type.Optional(Bytes(64, 'By the root key that the document names (K-2)')),
    previousSig: Type.Optional(Bytes(64, 'By the root key in force, if the document names another (K-3)')),
  },
  { title: 'KeySignatures', ...closed },
);
