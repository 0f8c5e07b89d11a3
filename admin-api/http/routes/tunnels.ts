import { Problem } from '../../problems.ts';
import { callerOf, type RouteRefusal } from '../auth.ts';
import { type App, operation } from '../operation.ts';
import { presentOpenedTunnel, presentPage, presentTunnel } from '../presenters.ts';
import { IdParams, PageOf, Ref } from '../schemas/common.ts';
import { spanOf } from '../schemas/time-span.ts';
import {
  OpenedTunnelSchema,
  TunnelClosing,
  TunnelCreation,
  TunnelQuery,
  TunnelSchema,
} from '../schemas/tunnels.ts';
import type { HttpServices } from '../services.ts';

const tag = 'Tunnels';
const TheTunnel = { description: 'The tunnel.', schema: Ref(TunnelSchema) };
const Opened = { description: 'The tunnel, and how to join it.', schema: Ref(OpenedTunnelSchema) };

export function tunnelRoutes(app: App, { store, tunnels }: HttpServices): void {
  const refused: RouteRefusal = (caller, { body, params }) =>
    tunnels.refuse(caller, { ...members(body), ...members(params) });

  app.post(
    '/v1/tunnels',
    operation({
      access: 'operator',
      refused,
      operationId: 'openTunnel',
      tag,
      summary: 'Open a tunnel',
      description:
        'The server picks a gateway and tells the device. Join at that gateway with the ticket, or use ' +
        '`pushpoint tunnel`. A tunnel that cannot open says why in its own record: without a connected ' +
        'device or a gateway it has already ended; if the device refuses, it ends within seconds. A ' +
        'host other than the device itself, and port 3389, need the role admin. The audit trail ' +
        'records refused attempts.',
      body: TunnelCreation,
      answers: {
        201: {
          ...Opened,
          headers: { location: { type: 'string', description: 'URL of the tunnel.' } },
        },
      },
      problems: ['unknown-reference', 'too-many-requests'],
    }),
    async (request, reply) => {
      const opened = await tunnels.open(request.body, callerOf(request));
      return reply
        .code(201)
        .header('location', `/v1/tunnels/${opened.tunnel.id}`)
        .send(presentOpenedTunnel(opened));
    },
  );

  app.get(
    '/v1/tunnels',
    operation({
      access: 'viewer',
      operationId: 'listTunnels',
      tag,
      summary: 'List tunnels',
      querystring: TunnelQuery,
      answers: { 200: { description: 'One page, the newest first.', schema: PageOf(Ref(TunnelSchema)) } },
    }),
    async (request) => {
      const { limit, cursor, since, until, ...filter } = request.query;
      const span = spanOf(request.query);
      const page = await store.tunnels.list({ ...filter, ...span }, { limit, cursor });
      return presentPage(page, presentTunnel);
    },
  );

  app.get(
    '/v1/tunnels/:id',
    operation({
      access: 'viewer',
      operationId: 'getTunnel',
      tag,
      summary: 'Read a tunnel',
      params: IdParams,
      answers: { 200: TheTunnel },
      problems: ['not-found'],
    }),
    async (request) => {
      const { id } = request.params;
      const tunnel = await store.tunnels.get(id);
      if (!tunnel) throw new Problem('not-found', `There is no tunnel ${id}.`);
      return presentTunnel(tunnel);
    },
  );

  app.post(
    '/v1/tunnels/:id/move',
    operation({
      access: 'operator',
      refused,
      operationId: 'moveTunnel',
      tag,
      summary: 'Move a tunnel to another gateway',
      description:
        'For the token that opened it, when its gateway leaves: new tickets, the same streams. The ' +
        'device gets its ticket at the same time.',
      params: IdParams,
      answers: { 200: Opened },
      problems: ['not-found', 'conflict', 'gone'],
    }),
    async (request) => presentOpenedTunnel(await tunnels.move(request.params.id, callerOf(request))),
  );

  app.post(
    '/v1/tunnels/:id/close',
    operation({
      access: 'operator',
      refused,
      operationId: 'closeTunnel',
      tag,
      summary: 'Close a tunnel',
      description: 'Both ends learn why at once. A tunnel that has already ended stays as it is.',
      params: IdParams,
      querystring: TunnelClosing,
      answers: { 200: TheTunnel },
      problems: ['not-found'],
    }),
    async (request) => {
      const { params, query } = request;
      return presentTunnel(await tunnels.close(params.id, callerOf(request), query.code));
    },
  );
}

function members(value: unknown): object {
  return typeof value === 'object' && value !== null ? value : {};
}
