/** One id per request, in its answer, in its problem document and in the log. */
import type { IncomingMessage } from 'node:http';
import type { FastifyInstance } from 'fastify';
import { nanoid } from 'nanoid';

export const REQUEST_ID_HEADER = 'x-request-id';
/** Allowed request ids of callers and proxies; any other is replaced. */
const GIVEN = /^[\w.-]{1,128}$/;

/** Uses the caller's `X-Request-Id` if it is a plain word; otherwise counts from a random start. */
export function requestIds(): (request: IncomingMessage) => string {
  const start = nanoid(10);
  let count = 0;
  return ({ headers }) => {
    const given = headers[REQUEST_ID_HEADER];
    return typeof given === 'string' && GIVEN.test(given) ? given : `${start}-${(count++).toString(36)}`;
  };
}

export function answerRequestIds(app: FastifyInstance): void {
  app.addHook('onRequest', (request, reply, done) => {
    reply.header(REQUEST_ID_HEADER, request.id);
    done();
  });
}
