import { unknownGroup } from '../../services/group-service.ts';
import type { Group } from '../../store/records.ts';
import type { Store } from '../../store/store.ts';
import { actorOf } from '../auth.ts';
import { ETAG_HEADER, expecting, groupTag, IfMatchHeaders } from '../entity-tags.ts';
import { type App, operation } from '../operation.ts';
import { presentGroup, presentPage } from '../presenters.ts';
import { IdParams, PageOf, Ref } from '../schemas/common.ts';
import { GroupChange, GroupCreation, GroupQuery, GroupSchema } from '../schemas/groups.ts';
import type { HttpServices } from '../services.ts';

const tag = 'Groups';
const TheGroup = { description: 'The group.', schema: Ref(GroupSchema), headers: ETAG_HEADER };

export function groupRoutes(app: App, { store, groups }: HttpServices): void {
  const withDevices = (group: Group) => countDevices(store, group);

  app.get(
    '/v1/groups',
    operation({
      access: 'viewer',
      operationId: 'listGroups',
      tag,
      summary: 'List groups',
      querystring: GroupQuery,
      answers: { 200: { description: 'One page of groups.', schema: PageOf(Ref(GroupSchema)) } },
    }),
    async (request) => presentPage(await store.groups.list(request.query), presentGroup),
  );

  app.post(
    '/v1/groups',
    operation({
      access: 'admin',
      operationId: 'createGroup',
      tag,
      summary: 'Make a group',
      body: GroupCreation,
      answers: { 201: TheGroup },
      problems: ['conflict', 'unknown-reference'],
    }),
    async (request, reply) => {
      const group = await groups.create(request.body, actorOf(request));
      return reply
        .code(201)
        .header('location', `/v1/groups/${group.id}`)
        .header('etag', groupTag(group))
        .send(presentGroup(group));
    },
  );

  app.get(
    '/v1/groups/:id',
    operation({
      access: 'viewer',
      operationId: 'getGroup',
      tag,
      summary: 'Read a group',
      params: IdParams,
      answers: { 200: TheGroup },
      problems: ['not-found'],
    }),
    async (request, reply) => {
      const group = await store.groups.get(request.params.id);
      if (!group) throw unknownGroup(request.params.id);
      reply.header('etag', groupTag(group));
      return presentGroup(await withDevices(group));
    },
  );

  app.patch(
    '/v1/groups/:id',
    operation({
      access: 'admin',
      operationId: 'changeGroup',
      tag,
      summary: 'Rename or move a group',
      description: 'Moving a group moves everything below it; connected devices learn of it at once.',
      params: IdParams,
      headers: IfMatchHeaders,
      body: GroupChange,
      answers: { 200: TheGroup },
      problems: ['not-found', 'conflict', 'precondition-failed', 'unknown-reference'],
    }),
    async (request, reply) => {
      const { params, body, headers } = request;
      const group = await groups.change(params.id, body, actorOf(request), expecting(headers, groupTag));
      reply.header('etag', groupTag(group));
      return presentGroup(await withDevices(group));
    },
  );

  app.delete(
    '/v1/groups/:id',
    operation({
      access: 'admin',
      operationId: 'deleteGroup',
      tag,
      summary: 'Delete an empty group',
      params: IdParams,
      headers: IfMatchHeaders,
      answers: { 204: { description: 'It is gone.' } },
      problems: ['not-found', 'conflict', 'not-empty', 'precondition-failed'],
    }),
    async (request, reply) => {
      await groups.delete(request.params.id, actorOf(request), expecting(request.headers, groupTag));
      return reply.code(204).send();
    },
  );
}

/**
 * The store counts devices only in lists of groups, so this looks the group up in a list filtered by its id.
 */
async function countDevices(store: Store, group: Group): Promise<Group & { devices: number }> {
  let cursor: string | undefined;
  do {
    const page = await store.groups.list({ text: group.id, limit: 1000, cursor });
    const found = page.items.find(({ id }) => id === group.id);
    if (found) return found;
    cursor = page.next ?? undefined;
  } while (cursor !== undefined);
  throw unknownGroup(group.id);
}
