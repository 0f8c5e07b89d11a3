import { actorOf } from '../auth.ts';
import { type App, operation } from '../operation.ts';
import { presentPage } from '../presenters.ts';
import { presentGatewayCertificate, presentJoinRequest, presentJoinToken } from '../presenters-joins.ts';
import { IdParams, PageOf, Ref } from '../schemas/common.ts';
import { GatewayParams } from '../schemas/gateways.ts';
import {
  GatewayCertificatesSchema,
  JoinRequestParams,
  JoinRequestSchema,
  JoinRequestsSchema,
  JoinTokenCreation,
  JoinTokenSchema,
  NewJoinTokenSchema,
  RevokedSchema,
} from '../schemas/joins.ts';
import { PageQuery } from '../schemas/operations.ts';
import type { HttpServices } from '../services.ts';

const tag = 'Gateways';

export function joinRoutes(app: App, services: HttpServices): void {
  tokenRoutes(app, services);
  requestRoutes(app, services);
  certificateRoutes(app, services);
}

function tokenRoutes(app: App, { store, joins }: HttpServices): void {
  app.get(
    '/v1/join-tokens',
    operation({
      access: 'admin',
      operationId: 'listJoinTokens',
      tag,
      summary: 'List join tokens of gateways',
      querystring: PageQuery,
      answers: { 200: { description: 'One page of tokens.', schema: PageOf(Ref(JoinTokenSchema)) } },
    }),
    async (request) => presentPage(await store.joinTokens.list(request.query, 'gateways'), presentJoinToken),
  );

  app.post(
    '/v1/join-tokens',
    operation({
      access: 'admin',
      operationId: 'createJoinToken',
      tag,
      summary: 'Create a join token for a gateway',
      description: 'The gateway that starts with it gets a certificate for this name; the token works once.',
      body: JoinTokenCreation,
      answers: { 201: { description: 'The token, shown only once.', schema: Ref(NewJoinTokenSchema) } },
    }),
    async (request, reply) => {
      const { token, ...record } = await joins.createToken(request.body, actorOf(request));
      return reply.code(201).send({ ...presentJoinToken(record), token });
    },
  );

  app.delete(
    '/v1/join-tokens/:id',
    operation({
      access: 'admin',
      operationId: 'revokeJoinToken',
      tag,
      summary: 'Revoke a join token',
      description: 'A gateway that has joined with it stays.',
      params: IdParams,
      answers: { 204: { description: 'The token is revoked.' } },
      problems: ['not-found'],
    }),
    async (request, reply) => {
      await joins.revokeToken(request.params.id, actorOf(request));
      return reply.code(204).send();
    },
  );
}

function requestRoutes(app: App, { joins }: HttpServices): void {
  app.get(
    '/v1/join-requests',
    operation({
      access: 'admin',
      operationId: 'listJoinRequests',
      tag,
      summary: 'List gateways that wait for approval',
      answers: { 200: { description: 'The requests.', schema: Ref(JoinRequestsSchema) } },
    }),
    async () => ({
      installation: Buffer.from(joins.fingerprint).toString('base64url'),
      items: (await joins.requests()).map(presentJoinRequest),
    }),
  );

  app.post(
    '/v1/join-requests/:id/approve',
    operation({
      access: 'admin',
      operationId: 'approveJoinRequest',
      tag,
      summary: 'Approve a gateway',
      description: 'First compare the fingerprint with the one that the gateway shows.',
      params: JoinRequestParams,
      answers: { 200: { description: 'The request.', schema: Ref(JoinRequestSchema) } },
      problems: ['not-found', 'conflict'],
    }),
    async (request) => presentJoinRequest(await joins.approve(request.params.id, actorOf(request))),
  );
}

function certificateRoutes(app: App, { joins }: HttpServices): void {
  app.get(
    '/v1/gateways/:name/certificates',
    operation({
      access: 'viewer',
      operationId: 'listGatewayCertificates',
      tag,
      summary: 'List the certificates of a gateway',
      params: GatewayParams,
      answers: { 200: { description: 'The newest first.', schema: Ref(GatewayCertificatesSchema) } },
    }),
    async (request) => ({
      items: (await joins.certificates(request.params.name)).map(presentGatewayCertificate),
    }),
  );

  app.post(
    '/v1/gateways/:name/revoke',
    operation({
      access: 'admin',
      operationId: 'revokeGateway',
      tag,
      summary: 'Revoke the certificates of a gateway',
      description:
        'The servers ignore it from then on, and its devices go to other gateways. A gateway that ' +
        'joins again under this name counts as a new one.',
      params: GatewayParams,
      answers: { 200: { description: 'What was revoked.', schema: Ref(RevokedSchema) } },
      problems: ['not-found'],
    }),
    async (request) => {
      const { name } = request.params;
      return { gateway: name, serials: await joins.revoke(name, actorOf(request)) };
    },
  );
}
