import { actorOf } from '../auth.ts';
import { type App, operation } from '../operation.ts';
import { presentApiToken, presentPage } from '../presenters.ts';
import { IdParams, PageOf, Ref } from '../schemas/common.ts';
import { PageQuery } from '../schemas/operations.ts';
import { ApiTokenCreation, ApiTokenSchema, NewApiTokenSchema } from '../schemas/tokens.ts';
import type { HttpServices } from '../services.ts';

const tag = 'Administration';

export function tokenRoutes(app: App, { store, tokens }: HttpServices): void {
  app.get(
    '/v1/tokens',
    operation({
      access: 'admin',
      operationId: 'listApiTokens',
      tag,
      summary: 'List API tokens',
      querystring: PageQuery,
      answers: { 200: { description: 'One page of tokens.', schema: PageOf(Ref(ApiTokenSchema)) } },
    }),
    async (request) => presentPage(await store.apiTokens.list(request.query), presentApiToken),
  );

  app.post(
    '/v1/tokens',
    operation({
      access: 'admin',
      operationId: 'createApiToken',
      tag,
      summary: 'Create an API token',
      body: ApiTokenCreation,
      answers: { 201: { description: 'The token, shown only once.', schema: Ref(NewApiTokenSchema) } },
    }),
    async (request, reply) => {
      const { token, ...record } = await tokens.create(request.body, actorOf(request));
      return reply.code(201).send({ ...presentApiToken(record), token });
    },
  );

  app.delete(
    '/v1/tokens/:id',
    operation({
      access: 'admin',
      operationId: 'revokeApiToken',
      tag,
      summary: 'Revoke an API token',
      description: 'All servers refuse it within seconds.',
      params: IdParams,
      answers: { 204: { description: 'It is revoked.' } },
      problems: ['not-found'],
    }),
    async (request, reply) => {
      await tokens.revoke(request.params.id, actorOf(request));
      return reply.code(204).send();
    },
  );
}
