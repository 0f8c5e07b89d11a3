import type { FastifyReply, FastifyRequest } from 'fastify';
import { Problem } from '../../problems.ts';
import { actorOf } from '../auth.ts';
import type { FailedAttempts } from '../failed-attempts.ts';
import { type App, operation } from '../operation.ts';
import { presentEnrolment, presentEnrolmentToken, presentLocated, presentPage } from '../presenters.ts';
import { IdParams, PageOf, Ref } from '../schemas/common.ts';
import {
  EnrolmentSchema,
  EnrolmentTokenCreation,
  EnrolmentTokenSchema,
  EnrolRequest,
  KeyRotationRequest,
  LocatedSchema,
  LocateRequestSchema,
  NewEnrolmentTokenSchema,
} from '../schemas/enrolment.ts';
import { PageQuery } from '../schemas/operations.ts';
import type { HttpServices } from '../services.ts';

const tag = 'Enrolment';
/** The longest request is half of it. */
const ENROL_BODY_BYTES = 8 * 1_024;
/** The longest request is a third of it. */
const ROTATION_BODY_BYTES = 2 * 1_024;
/** The longest question is half of it. */
const LOCATE_BODY_BYTES = 1_024;

export function enrolmentRoutes(
  app: App,
  { store, enrolment, locate, keyRotation }: HttpServices,
  failedAttempts: FailedAttempts,
): void {
  // Runs before the body is read, so that every faulty request counts.
  const limited = {
    onRequest: async (request: FastifyRequest) => failedAttempts.check(request.ip),
    onResponse: async (request: FastifyRequest, reply: FastifyReply) => {
      const { statusCode } = reply;
      const counts = statusCode >= 400 && statusCode < 500 && statusCode !== 409 && statusCode !== 429;
      if (counts) failedAttempts.failed(request.ip);
    },
  };

  app.post('/v1/enroll', {
    bodyLimit: ENROL_BODY_BYTES,
    ...limited,
    ...operation({
      access: 'open',
      operationId: 'enroll',
      tag,
      summary: 'Enrol a device',
      description:
        'A device calls this once, before it connects (PROTOCOL.md, section E). Repeating it with the ' +
        'same key returns the same device and uses up nothing of the token. Answers of 201, 401, 409 and ' +
        '410 are signed over the request.',
      body: EnrolRequest,
      answers: { 201: { description: 'The device is enrolled.', schema: Ref(EnrolmentSchema) } },
      problems: ['unauthorized', 'gone', 'conflict', 'key-replaced', 'too-many-requests'],
    }),
    handler: async (request, reply) => {
      const { body, tokenSig, deviceSig } = request.body;
      const enrolled = await enrolment.enroll({
        body: Buffer.from(body, 'base64url'),
        tokenSig: Buffer.from(tokenSig, 'base64url'),
        deviceSig: Buffer.from(deviceSig, 'base64url'),
      });
      return reply.code(201).send(presentEnrolment(enrolled));
    },
  });

  app.post('/v1/locate', {
    bodyLimit: LOCATE_BODY_BYTES,
    ...limited,
    ...operation({
      access: 'open',
      operationId: 'locate',
      tag,
      summary: 'Tell a device where to go',
      description:
        'For an enrolled device that no gateway admits (PROTOCOL.md, G-16). Without a proof the answer ' +
        'is a challenge, valid for a minute; with one, the gateways that the device may use.',
      body: LocateRequestSchema,
      answers: { 200: { description: 'A challenge, or the gateways.', schema: Ref(LocatedSchema) } },
      problems: ['unauthorized', 'conflict', 'too-many-requests'],
    }),
    handler: async (request) => {
      const { device, nonce: text, challenge, proof } = request.body;
      const nonce = Buffer.from(text, 'base64url');
      if ((challenge === undefined) !== (proof === undefined)) {
        throw new Problem('bad-request', 'challenge and proof: both, or neither.');
      }
      if (challenge === undefined || proof === undefined) {
        return { challenge: locate.challenge({ device, nonce }) };
      }
      const question = { device, nonce, challenge, proof: Buffer.from(proof, 'base64url') };
      return presentLocated(await locate.locate(question));
    },
  });

  app.post('/v1/rotate-key', {
    bodyLimit: ROTATION_BODY_BYTES,
    ...limited,
    ...operation({
      access: 'open',
      operationId: 'rotateDeviceKey',
      tag,
      summary: 'Give a device another key',
      description:
        'Asked by the device, with both keys (PROTOCOL.md, K-6). It gets its next secret as well. A ' +
        'repeated request changes nothing.',
      body: KeyRotationRequest,
      answers: { 200: { description: 'It has the key.', schema: Ref(EnrolmentSchema) } },
      problems: ['unauthorized', 'conflict', 'too-many-requests'],
    }),
    handler: async (request) => {
      const bytes = (text: string) => new Uint8Array(Buffer.from(text, 'base64url'));
      const { body, fromSig, toSig } = request.body;
      const rotated = await keyRotation.rotate({
        ...{ body: bytes(body), fromSig: bytes(fromSig), toSig: bytes(toSig) },
      });
      return presentEnrolment(rotated);
    },
  });

  app.get(
    '/v1/enrolment-tokens',
    operation({
      access: 'admin',
      operationId: 'listEnrolmentTokens',
      tag,
      summary: 'List enrolment tokens',
      querystring: PageQuery,
      answers: { 200: { description: 'One page of tokens.', schema: PageOf(Ref(EnrolmentTokenSchema)) } },
    }),
    async (request) => presentPage(await store.enrolmentTokens.list(request.query), presentEnrolmentToken),
  );

  app.post(
    '/v1/enrolment-tokens',
    operation({
      access: 'admin',
      operationId: 'createEnrolmentToken',
      tag,
      summary: 'Create an enrolment token',
      body: EnrolmentTokenCreation,
      answers: { 201: { description: 'The token, shown only once.', schema: Ref(NewEnrolmentTokenSchema) } },
      problems: ['unknown-reference'],
    }),
    async (request, reply) => {
      const { token, ...record } = await enrolment.createToken(request.body, actorOf(request));
      return reply
        .code(201)
        .header('location', `/v1/enrolment-tokens/${record.id}`)
        .send({ ...presentEnrolmentToken(record), token });
    },
  );

  app.get(
    '/v1/enrolment-tokens/:id',
    operation({
      access: 'admin',
      operationId: 'getEnrolmentToken',
      tag,
      summary: 'Read an enrolment token',
      params: IdParams,
      answers: { 200: { description: 'The token.', schema: Ref(EnrolmentTokenSchema) } },
      problems: ['not-found'],
    }),
    async (request) => {
      const token = await store.enrolmentTokens.get(request.params.id);
      if (!token) throw new Problem('not-found', `There is no enrolment token ${request.params.id}.`);
      return presentEnrolmentToken(token);
    },
  );

  app.delete(
    '/v1/enrolment-tokens/:id',
    operation({
      access: 'admin',
      operationId: 'revokeEnrolmentToken',
      tag,
      summary: 'Revoke an enrolment token',
      description: 'Devices that enrolled with it stay enrolled.',
      params: IdParams,
      answers: { 204: { description: 'The token is revoked.' } },
      problems: ['not-found'],
    }),
    async (request, reply) => {
      await enrolment.revokeToken(request.params.id, actorOf(request));
      return reply.code(204).send();
    },
  );
}
