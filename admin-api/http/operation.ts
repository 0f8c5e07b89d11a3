import type { IncomingMessage, ServerResponse } from 'node:http';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { FastifyBaseLogger, FastifyInstance, RawServerDefault } from 'fastify';
import type { TSchema } from 'typebox';
import { PROBLEM_CODES, Problem, type ProblemCode } from '../problems.ts';
import type { Access, RouteRefusal } from './auth.ts';
import { ProblemSchema, Ref } from './schemas/common.ts';

/** The HTTP server as routes see it: bodies, queries and parameters typed by their schemas. */
export type App = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>;

interface Answer {
  description: string;
  schema?: TSchema;
  mediaType?: string;
  headers?: Record<string, TSchema>;
}

interface Operation {
  access: Access;
  /** Called if a token's role is too low, after the request's body was read: records who wanted what. */
  refused?: RouteRefusal;
  operationId: string;
  tag: string;
  summary: string;
  description?: string;
  params?: TSchema;
  querystring?: TSchema;
  headers?: TSchema;
  body?: TSchema;
  /** Successful answers, by status. */
  answers: Record<number, Answer>;
  /** Its own refusals, beyond those of every operation. */
  problems?: readonly ProblemCode[];
}

const STATUS = new Map(PROBLEM_CODES.map((code) => [code, new Problem(code, '').status]));

/**
 * One operation of the API as a fastify route: the same schemas validate requests and describe them in
 * OpenAPI.
 */
export function operation<const O extends Operation>(spec: O) {
  const { access, tag, answers, problems = [], refused, ...rest } = spec;
  return {
    config: { access: access as Access, ...(refused && { refused: refused as RouteRefusal }) },
    schema: {
      ...(rest as Omit<O, 'access' | 'refused' | 'tag' | 'answers' | 'problems'>),
      tags: [tag],
      security: access === 'open' ? [] : [{ token: [] }],
      ...(access !== 'open' && { 'x-role': access }),
      response: { ...refusals(impliedProblems(spec).concat(problems)), ...responses(answers) },
    },
  };
}

function impliedProblems({ access, params, querystring, headers, body }: Operation): ProblemCode[] {
  const implied: ProblemCode[] = ['internal', 'unavailable'];
  if (access !== 'open') implied.push('unauthorized');
  if (access === 'operator' || access === 'admin') implied.push('forbidden');
  if (params ?? querystring ?? headers ?? body) implied.push('bad-request');
  if (body) implied.push('too-large', 'unsupported-media-type');
  return implied;
}

function responses(answers: Record<number, Answer>): Record<string, object> {
  return Object.fromEntries(
    Object.entries(answers).map(
      ([status, { description, schema, headers, mediaType = 'application/json' }]) => [
        status,
        {
          description,
          ...(headers && { headers }),
          ...(schema ? { content: { [mediaType]: { schema } } } : { type: 'null' }),
        },
      ],
    ),
  );
}

/** One answer per status, naming the codes it may carry. */
function refusals(codes: readonly ProblemCode[]): Record<string, object> {
  const byStatus = new Map<number, Set<string>>();
  for (const code of codes) {
    const status = STATUS.get(code) ?? 500;
    byStatus.set(status, (byStatus.get(status) ?? new Set()).add(`\`${code}\``));
  }
  return Object.fromEntries(
    [...byStatus].map(([status, names]) => [
      status,
      {
        description: `Problem ${[...names].join(' or ')}.`,
        ...((status === 503 || status === 429) && {
          headers: { 'retry-after': { type: 'integer', description: 'Seconds.' } },
        }),
        content: { 'application/problem+json': { schema: Ref(ProblemSchema) } },
      },
    ]),
  );
}
