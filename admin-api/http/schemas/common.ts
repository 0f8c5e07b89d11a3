/**
 * Building blocks of the API's schemas. Every schema here is the only source of validation, of the OpenAPI
 * document and of docs/api.md, so each has its own description, limits and examples.
 */
import { type Static, type TSchema, Type } from 'typebox';
import { ID_PATTERN, LIMITS } from '../../../protocol/index.ts';
import { PROBLEM_CODES } from '../../problems.ts';

/** Text for people: no control characters, so that it cannot deceive a terminal or a log. */
export const PLAIN_TEXT = '^[^\\u0000-\\u001f\\u007f-\\u009f]*$';

export function OneOf<const T extends readonly string[]>(values: T, options: object = {}) {
  return Type.Unsafe<T[number]>({ type: 'string', enum: [...values], ...options });
}

export function Nullable<T extends TSchema>(schema: T) {
  const { description } = schema as { description?: string };
  return Type.Union([schema, Type.Null()], description === undefined ? {} : { description });
}

/** A reference to a schema registered under its `$id`, with the type of that schema. */
export function Ref<T extends TSchema>(schema: T) {
  return Type.Unsafe<Static<T>>({ $ref: `${(schema as { $id?: string }).$id}#` });
}

export function Id(description: string, example: string) {
  return Type.String({ pattern: ID_PATTERN.source, maxLength: 64, description, examples: [example] });
}

export function Name(description: string, example: string) {
  return Type.String({
    minLength: 1,
    maxLength: 128,
    pattern: PLAIN_TEXT,
    description,
    examples: [example],
  });
}

export function Time(description: string) {
  return Type.String({ format: 'date-time', description, examples: ['2030-01-31T12:00:00.000Z'] });
}

export function Count(description: string) {
  return Type.Integer({ minimum: 0, description });
}

/** An object that refuses members it does not know. */
export const closed = { additionalProperties: false } as const;

export const IdParams = Type.Object({ id: Id('Identifier.', 'berlin') }, closed);

export const pageQuery = {
  limit: Type.Integer({
    minimum: 1,
    maximum: 1000,
    default: 100,
    description: 'Maximum number of items in one answer.',
  }),
  cursor: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 1024,
      pattern: '^[\\u0021-\\u007e]+$',
      description: '`next` of the previous answer.',
    }),
  ),
};

export function PageOf<T extends TSchema>(item: T) {
  return Type.Object(
    {
      items: Type.Array(item),
      next: Nullable(
        Type.String({ description: 'Pass it as `cursor` for the next page; `null` at the end.' }),
      ),
    },
    closed,
  );
}

export const Base64Url = (description: string) =>
  Type.String({ pattern: '^[A-Za-z0-9_-]+$', description: `${description}, base64url without padding.` });

export const Signature = (description: string) =>
  Type.String({ pattern: '^[A-Za-z0-9_-]{86}$', description: `${description}, base64url without padding.` });

export const KeyDocumentsSchema = Type.Array(
  Type.Object(
    {
      body: Base64Url('Encoded document'),
      sig: Signature('Signature by its root key'),
      previousSig: Type.Optional(Signature('Signature by the root key before it')),
    },
    closed,
  ),
  {
    maxItems: LIMITS.serverKeyDocuments,
    description: 'Which keys sign for the installation, the newest document last (PROTOCOL.md, K-7).',
  },
);
export type KeyDocuments = Static<typeof KeyDocumentsSchema>;

export const ProblemSchema = Type.Object(
  {
    type: Type.String({
      description: 'Derived from `code`.',
      examples: ['urn:pushpoint:problem:not-found'],
    }),
    title: Type.String({ description: 'The kind of problem, for people.' }),
    status: Type.Integer({ description: 'The HTTP status.' }),
    detail: Type.String({ description: 'What is wrong and what to do, in a sentence.' }),
    code: OneOf(PROBLEM_CODES, { description: 'The code that programs compare.' }),
    instance: Type.Optional(
      Type.String({ description: 'Identifies this occurrence in the log of the server.' }),
    ),
    errors: Type.Optional(
      Type.Array(
        Type.Object(
          {
            path: Type.String({
              description: 'Where: the part of the request, then a JSON pointer into it.',
              examples: ['/body/target/group'],
            }),
            message: Type.String({ description: 'What is expected there.' }),
          },
          closed,
        ),
        { description: 'What failed validation.' },
      ),
    ),
    keys: Type.Optional(KeyDocumentsSchema),
    sig: Type.Optional(
      Signature('With `keys`, of a refused enrolment: signature by one of them (PROTOCOL.md, E-6)'),
    ),
  },
  { $id: 'Problem', ...closed, description: 'Problem details (RFC 9457).' },
);
export type ProblemDocument = Static<typeof ProblemSchema>;
