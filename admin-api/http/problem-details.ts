import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { BusUnavailable, DirectoryIncomplete } from '../../bus/bus.ts';
import { toBase64url } from '../../protocol/index.ts';
import { Problem, type ProblemCode, SignedRefusal } from '../problems.ts';
import { StoreUnavailable } from '../store/store.ts';
import { presentKeyDocuments } from './presenters.ts';
import type { ProblemDocument } from './schemas/common.ts';
import { type FieldError, fieldErrors } from './validation.ts';

const MEDIA_TYPE = 'application/problem+json; charset=utf-8';
/** Retry-After if there is no better estimate, seconds. */
export const RETRY_AFTER_S = 5;
/** A refused body up to this size is read to its end and dropped, bytes. */
const DROPPED_BODY_MAX = 16 * 1024 * 1024;

/** A well-formed body that fails validation, with the places. */
export class InvalidRequest extends Problem {
  readonly errors: FieldError[];
  constructor(errors: FieldError[]) {
    super('bad-request', errors.map(({ path, message }) => `${path} ${message}`).join('; '));
    this.errors = errors;
  }
}

/** Refusals by fastify itself, by status. */
const OWN: Record<number, [ProblemCode, string]> = {
  404: ['not-found', 'There is nothing at this address.'],
  405: ['method-not-allowed', 'This method is not known here.'],
  413: ['too-large', 'The body is too long.'],
  415: ['unsupported-media-type', 'Send the body as application/json.'],
  503: ['unavailable', 'The server is stopping.'],
};

/** The one place where errors become answers. No detail of an unexpected error leaves the server. */
export function toProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof StoreUnavailable) {
    return new Problem('unavailable', 'The store cannot be reached; try again.', RETRY_AFTER_S);
  }
  if (error instanceof BusUnavailable || error instanceof DirectoryIncomplete) {
    return new Problem('unavailable', 'The bus cannot be reached; try again.', RETRY_AFTER_S);
  }
  const { validation, validationContext, statusCode, code, message } = error as Partial<FastifyError>;
  if (validation) return new InvalidRequest(fieldErrors(partName(validationContext), validation));
  const own = statusCode === undefined ? undefined : OWN[statusCode];
  if (own) return new Problem(own[0], own[1], own[0] === 'unavailable' ? RETRY_AFTER_S : undefined);
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    // Errors with a code, and those of the JSON parser, are fastify's: their text is only about the request.
    const detail = code?.startsWith('FST_') || error instanceof SyntaxError ? message : undefined;
    return new Problem('bad-request', detail ?? 'The request is malformed.');
  }
  return new Problem('internal', 'Something went wrong inside the server; its log says more.');
}

function partName(context: string | undefined): string {
  return context === 'querystring' ? 'query' : context === 'params' ? 'path' : (context ?? 'request');
}

export function problemDocument(problem: Problem, requestId?: string): ProblemDocument {
  return {
    type: `urn:pushpoint:problem:${problem.code}`,
    title: STATUS_CODES[problem.status] ?? 'Error',
    status: problem.status,
    detail: problem.message,
    code: problem.code,
    ...(requestId !== undefined && { instance: `urn:pushpoint:request:${requestId}` }),
    ...(problem instanceof InvalidRequest && { errors: problem.errors }),
    ...(problem instanceof SignedRefusal && {
      ...{ keys: presentKeyDocuments(problem.keys), sig: toBase64url(problem.sig) },
    }),
  };
}

export function sendProblem(request: FastifyRequest, reply: FastifyReply, error: unknown): FastifyReply {
  const problem = toProblem(error);
  const internal = problem.code === 'internal';
  if (internal) {
    const route = request.routeOptions.url;
    request.log.error({ err: error, requestId: request.id, method: request.method, route }, 'request failed');
  }
  if (problem.retryAfter !== undefined) reply.header('retry-after', problem.retryAfter);
  if (problem.code === 'too-large' && Number(request.headers['content-length']) <= DROPPED_BODY_MAX) {
    // Closing while the caller still writes would reset the connection and lose the answer.
    reply.removeHeader('connection');
  }
  if (problem.code === 'unauthorized') reply.header('www-authenticate', 'Bearer realm="pushpoint"');
  // Serialised here, because a reply may already have another content type.
  return reply
    .code(problem.status)
    .type(MEDIA_TYPE)
    .serializer((document: unknown) => JSON.stringify(document))
    .send(problemDocument(problem, request.id));
}

/** Every failure is a problem document: errors, and addresses and methods that do not exist. */
export function useProblemDetails(app: FastifyInstance): void {
  const routes: { pattern: RegExp; methods: Set<string> }[] = [];
  app.addHook('onRoute', ({ url, method }) => {
    const pattern = new RegExp(`^${url.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replace(/:\w+/g, '[^/]+')}$`);
    if (!url.includes('*')) routes.push({ pattern, methods: new Set([method].flat()) });
  });
  // Runs before the body of a request to an unknown address is read.
  app.addHook('onRequest', (request, reply, done) => {
    if (request.is404) refuseAddress(request, reply);
    else done();
  });
  app.setErrorHandler((error, request, reply) => sendProblem(request, reply, error));
  app.setNotFoundHandler((request, reply) => refuseAddress(request, reply));

  function refuseAddress(request: FastifyRequest, reply: FastifyReply): FastifyReply {
    const path = request.url.split('?', 1)[0] ?? '';
    const methods = routes.filter(({ pattern }) => pattern.test(path)).flatMap((route) => [...route.methods]);
    if (methods.length === 0) {
      return sendProblem(request, reply, new Problem('not-found', 'There is nothing at this address.'));
    }
    const allowed = [...new Set(methods)].sort().join(', ');
    reply.header('allow', allowed);
    const detail = `${request.method} is not possible here; ${allowed} is.`;
    return sendProblem(request, reply, new Problem('method-not-allowed', detail));
  }
}

/** Answers bytes that do not become a request in time, and ends the connection. */
export function answerWithoutRequest(error: Error & { code?: string }, socket: Socket): void {
  if (!socket.writable) return;
  const problem =
    error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
      ? new Problem('request-timeout', 'The request did not arrive whole in time.', 1)
      : new Problem('bad-request', 'This is not well-formed HTTP.');
  const document = problemDocument(problem);
  const body = JSON.stringify(document);
  const retryAfter = problem.retryAfter === undefined ? '' : `retry-after: ${problem.retryAfter}\r\n`;
  socket.end(
    `HTTP/1.1 ${document.status} ${document.title}\r\ncontent-type: ${MEDIA_TYPE}\r\n${retryAfter}` +
      `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}
