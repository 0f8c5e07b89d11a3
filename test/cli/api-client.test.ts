import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ApiClient, ApiRefused, ApiUnavailable } from '../../cli/api/api-client.ts';
import { CliError } from '../../cli/exit-codes.ts';
import { freePort } from '../wait.ts';
import { type Handle, json, smallServer } from './small-server.ts';

async function against(
  handle: Handle,
  work: (client: ApiClient, asked: string[]) => Promise<void>,
  timeoutMs = 5_000,
) {
  const server = await smallServer(handle);
  try {
    await work(new ApiClient({ server: server.url, token: 'ppt_secret', timeoutMs }), server.asked);
  } finally {
    await server.stop();
  }
}

async function failure(work: () => Promise<unknown>): Promise<CliError> {
  try {
    await work();
  } catch (error) {
    assert.instance(error, CliError);
    assert.not.match((error as Error).message, /ppt_secret/);
    return error as CliError;
  }
  throw new Error('should have failed');
}

test('the token goes into the header, the query into the address, the answer comes back parsed', () =>
  against(
    (request, response) => json(response, 200, { auth: request.headers.authorization, url: request.url }),
    async (client) => {
      const answer = await client.get('/v1/x', { a: 'ü&b', none: undefined, n: 3 });
      assert.equal(answer, { auth: 'Bearer ppt_secret', url: '/v1/x?a=%C3%BC%26b&n=3' });
    },
  ));

test('problem details become a sentence with every field, exit code 3', () =>
  against(
    (_, response) =>
      json(response, 400, {
        code: 'bad-request',
        detail: 'The body is not right.',
        errors: [{ path: '/ttl', message: 'must be at most 2592000' }],
      }),
    async (client) => {
      const error = await failure(() => client.request('POST', '/v1/commands', { body: {} }));
      assert.instance(error, ApiRefused);
      assert.is(error.exitCode, 3);
      assert.is(error.message, 'Refused: The body is not right.\n  - /ttl: must be at most 2592000');
    },
  ));

test('401 says how to set a token', () =>
  against(
    (_, response) => json(response, 401, { detail: 'Unknown token.' }),
    async (client) => {
      const error = await failure(() => client.get('/v1/x'));
      assert.is(error.exitCode, 3);
      assert.match(error.message, /--token-file or PUSHPOINT_TOKEN/);
    },
  ));

test('429 is a refusal that says when to try again', () =>
  against(
    (_, response) => json(response, 429, { detail: 'Too many.' }, { 'retry-after': '7' }),
    async (client) => assert.match((await failure(() => client.get('/v1/x'))).message, /Try again in 7 s/),
  ));

test('503, 502 and 504 are exit code 4, 500 is exit code 1', () =>
  against(
    (request, response) => json(response, Number(request.url?.slice(1)), { detail: 'No database.' }),
    async (client) => {
      for (const status of [502, 503, 504]) {
        const error = await failure(() => client.get(`/${status}`));
        assert.instance(error, ApiUnavailable);
        assert.is(error.exitCode, 4);
      }
      assert.is((await failure(() => client.get('/500'))).exitCode, 1);
    },
  ));

test('a server that is not there is exit code 4, with its address', async () => {
  const server = `http://127.0.0.1:${await freePort()}`;
  const client = new ApiClient({ server, token: 'ppt_secret', timeoutMs: 2_000 });
  const error = await failure(() => client.get('/v1/x'));
  assert.is(error.exitCode, 4);
  assert.ok(error.message.includes(server) && error.message.includes('ECONNREFUSED'), error.message);
});

test('a server that does not answer in time is exit code 4', () =>
  against(
    () => {},
    async (client) => {
      const error = await failure(() => client.get('/v1/x'));
      assert.is(error.exitCode, 4);
      assert.match(error.message, /no answer within 0\.2 s/);
    },
    200,
  ));

test('another server that answers with a page is recognised', () =>
  against(
    (_, response) => void response.writeHead(200).end('<html>'),
    async (client) => assert.match((await failure(() => client.get('/v1/x'))).message, /Is --server right/),
  ));

test('a redirect is not followed: the token stays with the server it is for', () =>
  against(
    (_, response) => void response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(),
    async (client, asked) => {
      await failure(() => client.get('/v1/x'));
      assert.is(asked.length, 1);
    },
  ));

test('a list follows cursors up to its limit, and says whether there is more', () =>
  against(
    (request, response) => {
      const query = new URL(request.url ?? '', 'http://x').searchParams;
      const from = Number(query.get('cursor') ?? 0);
      const to = Math.min(2_500, from + Number(query.get('limit')));
      const items = Array.from({ length: to - from }, (_, index) => from + index);
      json(response, 200, { items, next: to < 2_500 ? String(to) : null });
    },
    async (client, asked) => {
      const some = await client.list('/v1/x', {}, 1_200);
      assert.is(some.items.length, 1_200);
      assert.is(some.next, '1200');
      assert.equal(asked, ['GET /v1/x?limit=1000', 'GET /v1/x?limit=200&cursor=1000']);
      const all = await client.list('/v1/x', {}, Number.MAX_SAFE_INTEGER);
      assert.is(all.items.length, 2_500);
      assert.is(all.next, null);
    },
  ));

test.run();
