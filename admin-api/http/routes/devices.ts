import { unknownDevice } from '../../services/device-service.ts';
import { actorOf } from '../auth.ts';
import { deviceTag, ETAG_HEADER, expecting, IfMatchHeaders } from '../entity-tags.ts';
import { type App, operation } from '../operation.ts';
import { executionPresenter, presentDevice, presentPage } from '../presenters.ts';
import { DeviceExecutionQuery, ExecutionSchema, executionSelection } from '../schemas/commands.ts';
import { IdParams, PageOf, Ref } from '../schemas/common.ts';
import {
  DeviceChange,
  DeviceDestination,
  DeviceQuery,
  DeviceSchema,
  ExplanationSchema,
  PlacementSchema,
  WhyQuery,
} from '../schemas/devices.ts';
import type { HttpServices } from '../services.ts';

const tag = 'Devices';
const TheDevice = { description: 'The device.', schema: Ref(DeviceSchema), headers: ETAG_HEADER };

export function deviceRoutes(app: App, services: HttpServices): void {
  const { store, devices } = services;
  app.get(
    '/v1/devices',
    operation({
      access: 'viewer',
      operationId: 'listDevices',
      tag,
      summary: 'List devices',
      querystring: DeviceQuery,
      answers: { 200: { description: 'One page of devices.', schema: PageOf(Ref(DeviceSchema)) } },
    }),
    async (request) => {
      const { limit, cursor, ...filter } = request.query;
      return presentPage(await store.devices.list(filter, { limit, cursor }), presentDevice);
    },
  );

  app.get(
    '/v1/devices/:id',
    operation({
      access: 'viewer',
      operationId: 'getDevice',
      tag,
      summary: 'Read a device',
      params: IdParams,
      answers: { 200: TheDevice },
      problems: ['not-found'],
    }),
    async (request, reply) => {
      const device = await store.devices.get(request.params.id);
      if (!device) throw unknownDevice(request.params.id);
      reply.header('etag', deviceTag(device));
      return presentDevice(device);
    },
  );

  app.patch(
    '/v1/devices/:id',
    operation({
      access: 'admin',
      operationId: 'changeDevice',
      tag,
      summary: 'Rename, move, block or unblock a device',
      params: IdParams,
      headers: IfMatchHeaders,
      body: DeviceChange,
      answers: { 200: TheDevice },
      problems: ['not-found', 'precondition-failed', 'unknown-reference'],
    }),
    async (request, reply) => {
      const { params, body, headers } = request;
      const device = await devices.change(params.id, body, actorOf(request), expecting(headers, deviceTag));
      reply.header('etag', deviceTag(device));
      return presentDevice(device);
    },
  );

  app.delete(
    '/v1/devices/:id',
    operation({
      access: 'admin',
      operationId: 'deleteDevice',
      tag,
      summary: 'Delete a device',
      description: 'Its open executions are canceled; all its executions stay stored.',
      params: IdParams,
      headers: IfMatchHeaders,
      answers: { 204: { description: 'It is gone.' } },
      problems: ['not-found', 'precondition-failed'],
    }),
    async (request, reply) => {
      await devices.delete(request.params.id, actorOf(request), expecting(request.headers, deviceTag));
      return reply.code(204).send();
    },
  );

  app.post(
    '/v1/devices/:id/split',
    operation({
      access: 'admin',
      operationId: 'splitDevice',
      tag,
      summary: 'Delete a device that has copies',
      description:
        'As deleting it, and nobody enrols with its key for 90 days: the copy that is to go on enrols ' +
        'with a new key, as another device.',
      params: IdParams,
      headers: IfMatchHeaders,
      answers: { 204: { description: 'It is gone.' } },
      problems: ['not-found', 'precondition-failed'],
    }),
    async (request, reply) => {
      await devices.split(request.params.id, actorOf(request), expecting(request.headers, deviceTag));
      return reply.code(204).send();
    },
  );

  app.post(
    '/v1/devices/:id/release',
    operation({
      access: 'admin',
      operationId: 'releaseDevice',
      tag,
      summary: 'Forget what is known of copies of a device',
      description: 'Commands that were held back are sent. If copies still run, they are found again.',
      params: IdParams,
      headers: IfMatchHeaders,
      answers: { 200: TheDevice },
      problems: ['not-found', 'precondition-failed'],
    }),
    async (request, reply) => {
      const { params, headers } = request;
      const device = await devices.release(params.id, actorOf(request), expecting(headers, deviceTag));
      reply.header('etag', deviceTag(device));
      return presentDevice(device);
    },
  );

  app.post(
    '/v1/devices/:id/move-to',
    operation({
      access: 'admin',
      operationId: 'moveDeviceTo',
      tag,
      summary: 'Move a device to another installation',
      description:
        'Deletes the device here and tells it where it belongs now, signed; its program may enrol there. ' +
        'Its open executions are canceled; all its executions stay stored.',
      params: IdParams,
      headers: IfMatchHeaders,
      body: DeviceDestination,
      answers: { 204: { description: 'It is gone.' } },
      problems: ['not-found', 'precondition-failed'],
    }),
    async (request, reply) => {
      const { params, body, headers } = request;
      const to = { url: body.url, fingerprint: Buffer.from(body.fingerprint, 'base64url') };
      await devices.moveTo(params.id, to, actorOf(request), expecting(headers, deviceTag));
      return reply.code(204).send();
    },
  );

  app.get(
    '/v1/devices/:id/executions',
    operation({
      access: 'viewer',
      operationId: 'listDeviceExecutions',
      tag,
      summary: 'List executions of a device',
      description: 'Includes those of a deleted device, as long as they are kept.',
      params: IdParams,
      querystring: DeviceExecutionQuery,
      answers: { 200: { description: 'One page of executions.', schema: PageOf(Ref(ExecutionSchema)) } },
      problems: ['not-found'],
    }),
    async (request) => {
      const { id } = request.params;
      const { filter, page: wanted, data } = executionSelection(request.query);
      const page = await store.executions.list({ device: id, ...filter }, wanted, data);
      if (page.items.length === 0 && !(await store.devices.get(id))) throw unknownDevice(id);
      return presentPage(page, executionPresenter(data));
    },
  );

  app.get(
    '/v1/devices/:id/why',
    operation({
      access: 'viewer',
      operationId: 'explainExecution',
      tag,
      summary: 'Explain why a command has not run yet on a device',
      params: IdParams,
      querystring: WhyQuery,
      answers: { 200: { description: 'Why.', schema: Ref(ExplanationSchema) } },
      problems: ['not-found'],
    }),
    async (request) => services.explain(request.params.id, request.query.command),
  );

  app.get(
    '/v1/devices/:id/placement',
    operation({
      access: 'viewer',
      operationId: 'explainPlacement',
      tag,
      summary: 'Explain why a device is connected where it is',
      params: IdParams,
      answers: { 200: { description: 'Why.', schema: Ref(PlacementSchema) } },
      problems: ['not-found'],
    }),
    async (request) => services.placement(request.params.id),
  );
}
