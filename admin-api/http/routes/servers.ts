/** Administration servers that join: their certificates, join tokens and requests. */
import { actorOf } from '../auth.ts';
import { type App, operation } from '../operation.ts';
import { presentPage } from '../presenters.ts';
import { presentServer, presentServerJoinRequest, presentServerJoinToken } from '../presenters-joins.ts';
import { PageOf, Ref } from '../schemas/common.ts';
import { JoinRequestParams } from '../schemas/joins.ts';
import { PageQuery } from '../schemas/operations.ts';
import {
  NewServerJoinTokenSchema,
  RevokedServerSchema,
  ServerJoinRequestSchema,
  ServerJoinRequestsSchema,
  ServerJoinTokenCreation,
  ServerJoinTokenSchema,
  ServerParams,
  ServersSchema,
} from '../schemas/servers.ts';
import type { HttpServices } from '../services.ts';

const tag = 'Servers';

export function serverRoutes(app: App, services: HttpServices): void {
  certificateRoutes(app, services);
  tokenRoutes(app, services);
  requestRoutes(app, services);
}

function certificateRoutes(app: App, { joins }: HttpServices): void {
  app.get(
    '/v1/servers',
    operation({
      access: 'viewer',
      operationId: 'listServers',
      tag,
      summary: 'List administration servers that joined',
      description: 'The first server of an installation has no certificate and is not listed.',
      answers: { 200: { description: 'The servers.', schema: Ref(ServersSchema) } },
    }),
    async () => ({ items: (await joins.servers()).map(presentServer) }),
  );

  app.post(
    '/v1/servers/:name/revoke',
    operation({
      access: 'admin',
      operationId: 'revokeServer',
      tag,
      summary: 'Revoke the certificates of an administration server',
      description:
        'The server ends if it still runs. It keeps the key of the secrets: change the passwords of its ' +
        'database role and its Redis user, and rotate the signing key.',
      params: ServerParams,
      answers: { 200: { description: 'What was revoked.', schema: Ref(RevokedServerSchema) } },
      problems: ['not-found'],
    }),
    async (request) => {
      const { name } = request.params;
      return { server: name, serials: await joins.revokeServer(name, actorOf(request)) };
    },
  );
}

function tokenRoutes(app: App, { store, joins }: HttpServices): void {
  app.get(
    '/v1/server-join-tokens',
    operation({
      access: 'admin',
      operationId: 'listServerJoinTokens',
      tag,
      summary: 'List join tokens of administration servers',
      querystring: PageQuery,
      answers: { 200: { description: 'One page of tokens.', schema: PageOf(Ref(ServerJoinTokenSchema)) } },
    }),
    async (request) =>
      presentPage(await store.joinTokens.list(request.query, 'servers'), presentServerJoinToken),
  );

  app.post(
    '/v1/server-join-tokens',
    operation({
      access: 'admin',
      operationId: 'createServerJoinToken',
      tag,
      summary: 'Create a join token for an administration server',
      description:
        'The server that starts with it gets a certificate for this name and the key of the secrets; the ' +
        'token works once. `DELETE /v1/join-tokens/{id}` revokes it.',
      body: ServerJoinTokenCreation,
      answers: {
        201: { description: 'The token, shown only once.', schema: Ref(NewServerJoinTokenSchema) },
      },
    }),
    async (request, reply) => {
      const { token, ...record } = await joins.createServerToken(request.body, actorOf(request));
      return reply.code(201).send({ ...presentServerJoinToken(record), token });
    },
  );
}

function requestRoutes(app: App, { joins }: HttpServices): void {
  app.get(
    '/v1/server-join-requests',
    operation({
      access: 'admin',
      operationId: 'listServerJoinRequests',
      tag,
      summary: 'List administration servers that wait for approval',
      answers: { 200: { description: 'The requests.', schema: Ref(ServerJoinRequestsSchema) } },
    }),
    async () => ({
      installation: Buffer.from(joins.fingerprint).toString('base64url'),
      items: (await joins.requests('servers')).map(presentServerJoinRequest),
    }),
  );

  app.post(
    '/v1/server-join-requests/:id/approve',
    operation({
      access: 'admin',
      operationId: 'approveServerJoinRequest',
      tag,
      summary: 'Approve an administration server',
      description:
        'It gets the key of the secrets, and is an administration server from then on. First compare the ' +
        'fingerprint with the one that the server shows.',
      params: JoinRequestParams,
      answers: { 200: { description: 'The request.', schema: Ref(ServerJoinRequestSchema) } },
      problems: ['not-found', 'conflict'],
    }),
    async (request) =>
      presentServerJoinRequest(await joins.approve(request.params.id, actorOf(request), 'servers')),
  );
}
