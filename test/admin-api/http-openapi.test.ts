import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { OpenApiDocument } from '../../admin-api/http/openapi.ts';
import { OPERATOR_COMMAND_TYPES } from '../../protocol/command-types.ts';
import { type Http, startHttp } from './http-harness.ts';

let http: Http;
let document: OpenApiDocument;
test.before(async () => {
  http = await startHttp();
  document = (await http.call('GET', '/openapi.json', { as: null })).body;
});
test.after(() => http.stop());

function operations() {
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  );
}

/** Every node of a JSON value. */
function* nodes(value: unknown): Generator<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) return;
  yield value as Record<string, unknown>;
  for (const member of Object.values(value)) yield* nodes(member);
}

test('the document is OpenAPI 3.1 and every reference in it resolves', () => {
  assert.is(document.openapi, '3.1.0');
  assert.ok(document.info.title && document.info.version);
  let references = 0;
  for (const { $ref } of nodes(document)) {
    if (typeof $ref !== 'string') continue;
    references++;
    assert.match($ref, /^#\/components\/schemas\/[A-Za-z0-9._-]+$/);
    assert.ok(document.components.schemas[$ref.split('/').pop() ?? ''], $ref);
  }
  assert.ok(references > 50);
  for (const node of nodes(document))
    assert.not.ok('nullable' in node || '$id' in node, JSON.stringify(node));
});

test('every operation has a unique id, a summary, a tag, and its refusals as problem documents', () => {
  const ids = operations().map(({ operation }) => operation.operationId);
  assert.is(new Set(ids).size, ids.length);
  const tags = document.tags.map((tag) => tag.name);
  for (const { path, method, operation } of operations()) {
    const what = `${method} ${path}`;
    assert.ok(operation.operationId && operation.summary, what);
    assert.ok(tags.includes(operation.tags[0] ?? ''), what);
    assert.ok(
      Object.keys(operation.responses).some((status) => status.startsWith('2')),
      what,
    );
    for (const [status, response] of Object.entries(operation.responses)) {
      assert.ok(response.description, what);
      if (Number(status) < 400 || ['/ready', '/live'].includes(path)) continue;
      assert.equal(
        response.content?.['application/problem+json']?.schema,
        { $ref: '#/components/schemas/Problem' },
        what,
      );
    }
    assert.ok(operation.responses['500'], what);
    if (operation['x-role'] !== undefined) assert.ok(operation.responses['401'], what);
  }
});

test('every path parameter is described, and nothing else is called one', () => {
  for (const { path, operation } of operations()) {
    const inPath = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]);
    const described = (operation.parameters ?? []).filter((parameter) => parameter.in === 'path');
    assert.equal(
      described.map((parameter) => parameter.name),
      inPath,
      path,
    );
    for (const parameter of operation.parameters ?? []) {
      assert.ok(parameter.description, `${path} ${parameter.name}`);
    }
  }
});

test('every route of the API is in the document', () => {
  const documented = operations().map(({ path, method }) => `${method.toUpperCase()} ${path}`);
  for (const expected of [
    'GET /v1/groups',
    'POST /v1/groups',
    'GET /v1/groups/{id}',
    'PATCH /v1/groups/{id}',
    'DELETE /v1/groups/{id}',
    'GET /v1/devices',
    'GET /v1/devices/{id}',
    'PATCH /v1/devices/{id}',
    'DELETE /v1/devices/{id}',
    'GET /v1/devices/{id}/executions',
    'GET /v1/devices/{id}/why',
    'GET /v1/enrolment-tokens',
    'POST /v1/enrolment-tokens',
    'GET /v1/enrolment-tokens/{id}',
    'DELETE /v1/enrolment-tokens/{id}',
    'POST /v1/enroll',
    'GET /v1/tokens',
    'POST /v1/tokens',
    'DELETE /v1/tokens/{id}',
    'GET /v1/gateways',
    'POST /v1/gateways',
    'GET /v1/gateways/{name}',
    'PATCH /v1/gateways/{name}',
    'DELETE /v1/gateways/{name}',
    'GET /v1/commands',
    'POST /v1/commands',
    'GET /v1/commands/{id}',
    'GET /v1/commands/{id}/executions',
    'GET /v1/commands/{id}/executions/{deviceId}',
    'POST /v1/commands/{id}/cancel',
    'GET /v1/tunnels',
    'POST /v1/tunnels',
    'GET /v1/tunnels/{id}',
    'POST /v1/tunnels/{id}/move',
    'POST /v1/tunnels/{id}/close',
    'GET /v1/events',
    'GET /v1/audit',
    'GET /v1/status',
    'GET /live',
    'GET /ready',
    'GET /metrics',
  ]) {
    assert.ok(documented.includes(expected), expected);
  }
});

test('a command is one of as many forms as there are types, each with its own arguments', () => {
  const { schemas } = document.components;
  const creation = schemas.CommandCreation;
  assert.is(creation?.discriminator?.propertyName, 'type');
  assert.equal(Object.keys(creation?.discriminator?.mapping ?? {}), OPERATOR_COMMAND_TYPES);
  for (const reference of Object.values(creation?.discriminator?.mapping ?? {})) {
    const form = schemas[reference.split('/').pop() ?? ''];
    assert.ok(form?.properties?.args);
    assert.is(form?.additionalProperties, false);
  }
});

test('each type of event has a schema of its own, told apart by `event`', async () => {
  const { schemas } = document.components;
  const { oneOf = [], discriminator } = schemas.Event ?? {};
  const { propertyName, mapping = {} } = discriminator ?? {};
  assert.is(propertyName, 'event');
  assert.equal(
    oneOf.map(({ $ref }) => $ref),
    Object.values(mapping),
  );
  for (const [type, reference] of Object.entries(mapping)) {
    const form = schemas[reference.split('/').pop() ?? ''];
    assert.is(form?.properties?.event?.const, type);
    assert.ok(form?.description, type);
    for (const [name, member] of Object.entries(form?.properties ?? {})) {
      assert.ok(member.description ?? member.$ref ?? member.enum, `${type}: ${name}`);
    }
  }
  const stream = document.paths['/v1/events']?.get?.responses[200]?.content?.['text/event-stream'];
  assert.equal(stream?.schema, { $ref: '#/components/schemas/Event' });
});

test('the document names its server, and every schema and member is described or self-explanatory', () => {
  const { servers } = document as unknown as { servers: { url: string; description: string }[] };
  assert.equal(
    servers.map(({ url }) => url),
    ['/'],
  );
  assert.ok(servers[0]?.description);
  const bare: string[] = [];
  for (const [name, schema] of Object.entries(document.components.schemas)) {
    for (const [member, { description, $ref, ...rest }] of Object.entries(schema.properties ?? {})) {
      const speaks = description ?? $ref ?? rest.const ?? rest.enum;
      if (speaks === undefined) bare.push(`${name}.${member}`);
    }
  }
  assert.equal(bare, []);
});

test('examples of commands are commands', async () => {
  const device = await http.enrol();
  await http.call('POST', '/v1/groups', { body: { id: 'berlin', name: 'Berlin' } });
  for (const type of OPERATOR_COMMAND_TYPES) {
    const form = document.components.schemas[`CommandCreation_${type}`];
    const [example] = (form?.examples ?? []) as { target: object }[];
    assert.ok(example, type);
    const body = {
      ...example,
      ...('devices' in (example?.target ?? {}) && { target: { devices: [device] } }),
    };
    assert.is((await http.call('POST', '/v1/commands', { body })).status, 202, type);
  }
});

test('the page to browse it is whole without a network', async () => {
  const page = await http.call('GET', '/docs', { as: null });
  assert.is(page.status, 200);
  assert.match(page.headers.get('content-security-policy') ?? '', /default-src 'self'/);
  const assets = [...page.body.matchAll(/(?:src|href)="([^"]+)"/g)].map(
    (match: string[]) => match[1] as string,
  );
  assert.ok(assets.length >= 4);
  for (const asset of assets) {
    assert.not.match(asset, /^(https?:)?\/\//);
    const { status } = await http.call('GET', new URL(asset, `${http.url}/docs`).pathname, { as: null });
    assert.is(status, 200, asset);
  }
  const initializer = await http.call('GET', '/docs/static/swagger-initializer.js', { as: null });
  assert.match(initializer.body, /"validatorUrl":\s*null/);
});

test.run();
