import { decodeValue, encodeValue, LIMITS, ProtocolError } from '../../../protocol/index.ts';
import { Problem } from '../../problems.ts';
import { unknownExecution } from '../../services/secret-results.ts';
import { actorOf } from '../auth.ts';
import { type App, operation } from '../operation.ts';
import { executionPresenter, presentCommand, presentExecution, presentPage } from '../presenters.ts';
import { InvalidRequest } from '../problem-details.ts';
import {
  Cancellation,
  CommandCreation,
  type CommandCreationBody,
  CommandQuery,
  CommandSchema,
  CreationHeaders,
  ExecutionParams,
  ExecutionQuery,
  ExecutionSchema,
  executionSelection,
} from '../schemas/commands.ts';
import { IdParams, PageOf, Ref } from '../schemas/common.ts';
import { spanOf } from '../schemas/time-span.ts';
import type { HttpServices } from '../services.ts';

const tag = 'Commands';
const TheCommand = { description: 'The command.', schema: Ref(CommandSchema) };

export function commandRoutes(app: App, { store, commands, secretResults }: HttpServices): void {
  app.post(
    '/v1/commands',
    operation({
      access: 'operator',
      operationId: 'createCommand',
      tag,
      summary: 'Send a command',
      description:
        'The server answers once the command is stored; from then on nothing loses it. It creates and ' +
        'delivers the executions afterwards: `GET` the command, or follow the events. A device that ' +
        'enrols in a group, or leaves it, while a command to the group expands may or may not be among ' +
        'its devices. The server also answers 503 with `Retry-After` when 2,000 commands to at most 20 ' +
        'named devices each are waiting to be stored.',
      headers: CreationHeaders,
      body: CommandCreation,
      answers: {
        202: {
          ...TheCommand,
          headers: {
            location: { type: 'string', description: 'URL of the command.' },
            'idempotency-replayed': {
              type: 'string',
              description: '`true` if an earlier request with this key created it.',
            },
          },
        },
      },
      problems: ['unknown-reference', 'past-expiry', 'idempotency-conflict', 'too-large'],
    }),
    async (request, reply) => {
      const { body } = request;
      checkCreation(body);
      const idempotencyKey = request.headers['idempotency-key'];
      const { command, counts, existing } = await commands.create(
        { ...body, ...(idempotencyKey !== undefined && { idempotencyKey }) },
        actorOf(request),
      );
      if (existing) reply.header('idempotency-replayed', 'true');
      return reply
        .code(202)
        .header('location', `/v1/commands/${command.id}`)
        .send(presentCommand(command, counts));
    },
  );

  app.get(
    '/v1/commands',
    operation({
      access: 'viewer',
      operationId: 'listCommands',
      tag,
      summary: 'List commands',
      querystring: CommandQuery,
      answers: { 200: { description: 'One page, the newest first.', schema: PageOf(Ref(CommandSchema)) } },
    }),
    async (request) => {
      const { limit, cursor, since, until, ...filter } = request.query;
      const span = spanOf(request.query);
      const page = await store.commands.list({ ...filter, ...span }, { limit, cursor });
      const counts = await store.commands.counts(page.items.map((command) => command.id));
      return presentPage(page, (command) => presentCommand(command, counts.get(command.id)));
    },
  );

  app.get(
    '/v1/commands/:id',
    operation({
      access: 'viewer',
      operationId: 'getCommand',
      tag,
      summary: 'Read a command with its counts',
      params: IdParams,
      answers: { 200: TheCommand },
      problems: ['not-found'],
    }),
    async (request) => {
      const { id } = request.params;
      const command = await store.commands.get(id);
      if (!command) throw unknownCommand(id);
      // Read after the counts: the counts of a finished command are final.
      const counts = await store.commands.counts([id]);
      return presentCommand(command, counts.get(id));
    },
  );

  app.get(
    '/v1/commands/:id/executions',
    operation({
      access: 'viewer',
      operationId: 'listCommandExecutions',
      tag,
      summary: 'List executions of a command',
      params: IdParams,
      querystring: ExecutionQuery,
      answers: { 200: { description: 'One page of executions.', schema: PageOf(Ref(ExecutionSchema)) } },
      problems: ['not-found'],
    }),
    async (request) => {
      const { id } = request.params;
      const { filter, page: wanted, data } = executionSelection(request.query);
      const page = await store.executions.list({ command: id, ...filter }, wanted, data);
      if (page.items.length === 0 && !(await store.commands.get(id))) throw unknownCommand(id);
      return presentPage(page, executionPresenter(data));
    },
  );

  app.get(
    '/v1/commands/:id/executions/:deviceId',
    operation({
      access: 'viewer',
      operationId: 'getExecution',
      tag,
      summary: 'Read an execution',
      params: ExecutionParams,
      answers: { 200: { description: 'The execution.', schema: Ref(ExecutionSchema) } },
      problems: ['not-found'],
    }),
    async (request) => {
      const { id, deviceId } = request.params;
      const execution = await store.executions.get({ command: id, device: deviceId });
      if (!execution) throw unknownExecution({ command: id, device: deviceId });
      return presentExecution(execution);
    },
  );

  app.post(
    '/v1/commands/:id/executions/:deviceId/reveal',
    operation({
      access: 'operator',
      operationId: 'revealExecution',
      tag,
      summary: 'Read the result of a secret command',
      description:
        'The execution with its `reason` and `data`, which no other operation shows for a secret ' +
        'command. The audit trail records who asked.',
      params: ExecutionParams,
      answers: { 200: { description: 'The execution.', schema: Ref(ExecutionSchema) } },
      problems: ['not-found'],
    }),
    async (request) => {
      const { id, deviceId } = request.params;
      return presentExecution(
        await secretResults.reveal({ command: id, device: deviceId }, actorOf(request)),
      );
    },
  );

  app.post(
    '/v1/commands/:id/cancel',
    operation({
      access: 'operator',
      operationId: 'cancelCommand',
      tag,
      summary: 'Cancel a command',
      description:
        'Executions that no device has acknowledged end at once. Devices that have acknowledged theirs ' +
        'are asked to stop, and report the outcome.',
      params: IdParams,
      body: Cancellation,
      answers: { 202: TheCommand },
      problems: ['not-found'],
    }),
    async (request, reply) => {
      const { id } = request.params;
      const command = await commands.cancel(id, { force: request.body?.force ?? false }, actorOf(request));
      const counts = await store.commands.counts([id]);
      return reply.code(202).send(presentCommand(command, counts.get(id)));
    },
  );
}

/** Checks that a schema cannot express. Only `message` carries an arbitrary value. */
function checkCreation({ type, args, ttl, expiresAt }: CommandCreationBody): void {
  if (ttl !== undefined && expiresAt !== undefined) {
    throw new InvalidRequest([{ path: '/body/expiresAt', message: 'cannot be given together with ttl' }]);
  }
  if (type !== 'message') return;
  try {
    decodeValue(encodeValue(args));
  } catch (error) {
    if (!(error instanceof ProtocolError || error instanceof RangeError)) throw error;
    const message = `must nest at most ${LIMITS.depth} deep and hold finite numbers and whole characters`;
    throw new InvalidRequest([{ path: '/body/args', message }]);
  }
}

function unknownCommand(id: string): Problem {
  return new Problem('not-found', `There is no command ${id}.`);
}
