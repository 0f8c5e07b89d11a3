import type { FastifyReply } from 'fastify';
import type { GatewayView } from '../../services/gateway-service.ts';
import { actorOf } from '../auth.ts';
import { ETAG_HEADER, expecting, gatewayTag, IfMatchHeaders } from '../entity-tags.ts';
import { type App, operation } from '../operation.ts';
import { presentGateway, presentPage } from '../presenters.ts';
import { PageOf, Ref } from '../schemas/common.ts';
import {
  GatewayChange,
  GatewayCreation,
  type GatewayDocument,
  GatewayParams,
  GatewayQuery,
  GatewaySchema,
} from '../schemas/gateways.ts';
import type { HttpServices } from '../services.ts';

const tag = 'Gateways';
const TheGateway = { description: 'The gateway.', schema: Ref(GatewaySchema), headers: ETAG_HEADER };

/** The gateway, with its tag. */
function answer(reply: FastifyReply, view: GatewayView): GatewayDocument {
  reply.header('etag', gatewayTag(view));
  return presentGateway(view);
}

export function gatewayRoutes(app: App, { gateways }: HttpServices): void {
  app.get(
    '/v1/gateways',
    operation({
      access: 'viewer',
      operationId: 'listGateways',
      tag,
      summary: 'List gateways with their state and load',
      querystring: GatewayQuery,
      answers: { 200: { description: 'One page of gateways.', schema: PageOf(Ref(GatewaySchema)) } },
    }),
    async (request) => presentPage(await gateways.views(request.query), presentGateway),
  );

  app.post(
    '/v1/gateways',
    operation({
      access: 'admin',
      operationId: 'createGateway',
      tag,
      summary: 'Register a gateway',
      description: 'Registers a gateway before it starts. A gateway that is not registered registers itself.',
      body: GatewayCreation,
      answers: { 201: TheGateway },
      problems: ['conflict', 'unknown-reference'],
    }),
    async (request, reply) => {
      const view = await gateways.create(request.body, actorOf(request));
      return reply.code(201).header('location', `/v1/gateways/${view.name}`).send(answer(reply, view));
    },
  );

  app.get(
    '/v1/gateways/:name',
    operation({
      access: 'viewer',
      operationId: 'getGateway',
      tag,
      summary: 'Read a gateway with its state and load',
      params: GatewayParams,
      answers: { 200: TheGateway },
      problems: ['not-found'],
    }),
    async (request, reply) => answer(reply, await gateways.view(request.params.name)),
  );

  app.patch(
    '/v1/gateways/:name',
    operation({
      access: 'admin',
      operationId: 'changeGateway',
      tag,
      summary: 'Change settings of a gateway',
      description:
        'Its workers apply them within seconds; `applied` says when. If only the port changes and the ' +
        'address contains the old one, the address follows.',
      params: GatewayParams,
      headers: IfMatchHeaders,
      body: GatewayChange,
      answers: { 200: TheGateway },
      problems: ['not-found', 'precondition-failed', 'unknown-reference'],
    }),
    async (request, reply) => {
      const { params, body, headers } = request;
      const expected = expecting(headers, gatewayTag);
      return answer(reply, await gateways.update(params.name, body, actorOf(request), expected));
    },
  );

  app.post(
    '/v1/gateways/:name/drain',
    operation({
      access: 'admin',
      operationId: 'drainGateway',
      tag,
      summary: 'Drain a gateway',
      description:
        'It refuses new devices and sends the connected ones to other gateways at a limited rate; ' +
        '`leaving` and `state` show the progress.',
      params: GatewayParams,
      headers: IfMatchHeaders,
      answers: { 202: TheGateway },
      problems: ['not-found', 'precondition-failed'],
    }),
    async (request, reply) => {
      const { params, headers } = request;
      const view = await gateways.drain(params.name, actorOf(request), expecting(headers, gatewayTag));
      return reply.code(202).send(answer(reply, view));
    },
  );

  app.delete(
    '/v1/gateways/:name/drain',
    operation({
      access: 'admin',
      operationId: 'cancelDrain',
      tag,
      summary: 'Cancel the drain of a gateway',
      description: 'It admits devices again, and those that have not left stay.',
      params: GatewayParams,
      headers: IfMatchHeaders,
      answers: { 200: TheGateway },
      problems: ['not-found', 'precondition-failed'],
    }),
    async (request, reply) => {
      const { params, headers } = request;
      const view = await gateways.cancelDrain(params.name, actorOf(request), expecting(headers, gatewayTag));
      return answer(reply, view);
    },
  );

  app.delete(
    '/v1/gateways/:name/former-ports',
    operation({
      access: 'admin',
      operationId: 'releaseFormerPorts',
      tag,
      summary: 'Release the former ports of a gateway',
      description:
        'A gateway whose port changed listens at the old one for 30 days, to redirect devices. After ' +
        'this call it no longer does, and another program may use the port.',
      params: GatewayParams,
      headers: IfMatchHeaders,
      answers: { 200: TheGateway },
      problems: ['not-found', 'precondition-failed'],
    }),
    async (request, reply) => {
      const { params, headers } = request;
      const expected = expecting(headers, gatewayTag);
      return answer(reply, await gateways.releaseFormerPorts(params.name, actorOf(request), expected));
    },
  );

  app.delete(
    '/v1/gateways/:name',
    operation({
      access: 'admin',
      operationId: 'deleteGateway',
      tag,
      summary: 'Delete a gateway that is not running',
      params: GatewayParams,
      headers: IfMatchHeaders,
      answers: { 204: { description: 'It is gone.' } },
      problems: ['not-found', 'precondition-failed', 'conflict'],
    }),
    async (request, reply) => {
      await gateways.delete(request.params.name, actorOf(request), expecting(request.headers, gatewayTag));
      return reply.code(204).send();
    },
  );
}
