import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { waitFor } from '../wait.ts';
import { type Http, startHttp } from './http-harness.ts';

let http: Http;
test.before(async () => {
  http = await startHttp();
});
test.after(() => http.stop());

/** Operations of the document with the role each needs; `open` for none. */
function operations(): { method: string; route: string; role: string }[] {
  const { paths } = http.app.swagger() as unknown as {
    paths: Record<string, Record<string, { 'x-role'?: string }>>;
  };
  return Object.entries(paths).flatMap(([template, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      method: method.toUpperCase(),
      route: template.replace(/\{\w+\}/g, 'nobody'),
      role: operation['x-role'] ?? 'open',
    })),
  );
}

test('without a token all operations but the open ones are refused', async () => {
  let refused = 0;
  for (const { method, route, role } of operations()) {
    const { status, headers } = await http.call(method, route, { as: null });
    if (role === 'open') assert.is.not(status, 401, route);
    else {
      refused++;
      assert.is(status, 401, `${method} ${route}`);
      assert.match(headers.get('www-authenticate') ?? '', /^Bearer/);
    }
  }
  assert.ok(refused > 25);
});

test('a token is refused with 403 wherever its role does not reach, before anything is read', async () => {
  const rank = ['viewer', 'operator', 'admin'];
  let refused = 0;
  for (const { method, route, role } of operations()) {
    for (const as of ['viewer', 'operator'] as const) {
      if (rank.indexOf(role) <= rank.indexOf(as)) continue;
      const { status, body } = await http.call(method, route, { as });
      assert.is(status, 403, `${as} ${method} ${route}`);
      assert.is(body.code, 'forbidden');
      refused++;
    }
  }
  assert.ok(refused > 20);
});

test('an operator commands devices and does not change them', async () => {
  const id = await http.enrol();
  const body = { type: 'sync', target: { devices: [id] } };
  assert.is((await http.call('POST', '/v1/commands', { as: 'operator', body })).status, 202);
  assert.is((await http.call('DELETE', `/v1/devices/${id}`, { as: 'operator' })).status, 403);
});

test('what only looks like a token is refused', async () => {
  const headers = [
    'Bearer',
    'Bearer ppt_short',
    `Bearer ppt_${'a'.repeat(32)}`,
    `Basic ${Buffer.from('admin:admin').toString('base64')}`,
    `Bearer ppe_${'a'.repeat(32)}`,
    http.secrets.admin,
    `Bearer ${http.secrets.admin} `.concat('x'),
  ];
  for (const authorization of headers) {
    const { status } = await http.call('GET', '/v1/groups', { as: null, headers: { authorization } });
    assert.is(status, 401, authorization);
  }
});

test('a token is shown once, listed without itself, and refused within seconds once revoked', async () => {
  const made = await http.call('POST', '/v1/tokens', { body: { name: 'ci', role: 'viewer', ttl: 3600 } });
  assert.is(made.status, 201);
  const { token, ...record } = made.body;
  assert.match(token, /^ppt_/);
  assert.is((await http.call('GET', '/v1/groups', { as: token })).status, 200);
  const listed = (await http.call('GET', '/v1/tokens')).body.items;
  const entry = listed.find((item: { id: string }) => item.id === record.id);
  assert.is(entry.name, 'ci');
  assert.not.ok(JSON.stringify(listed).includes(token));
  assert.is((await http.call('DELETE', `/v1/tokens/${record.id}`)).status, 204);
  await waitFor(async () => (await http.call('GET', '/v1/groups', { as: token })).status === 401, {
    timeoutMs: 3000,
    what: 'the revoked token to be refused',
  });
  assert.is((await http.call('DELETE', '/v1/tokens/nobody')).status, 404);
});

test('a token ends when its time is over, even when it was used just before', async () => {
  const { token } = (
    await http.call('POST', '/v1/tokens', { body: { name: 'short', role: 'viewer', ttl: 60 } })
  ).body;
  assert.is((await http.call('GET', '/v1/groups', { as: token })).status, 200);
  http.clock.offsetMs = 60_000;
  try {
    assert.is((await http.call('GET', '/v1/groups', { as: token })).status, 401);
  } finally {
    http.clock.offsetMs = 0;
  }
});

test('the API records when a token was last used', async () => {
  const { token, id } = (await http.call('POST', '/v1/tokens', { body: { name: 'used', role: 'viewer' } }))
    .body;
  await http.call('GET', '/v1/groups', { as: token });
  await waitFor(async () => {
    const { items } = (await http.call('GET', '/v1/tokens')).body;
    return items.find((item: { id: string }) => item.id === id).lastUsedAt !== null;
  });
});

test('no token is in the database, nor in the log', async () => {
  const enrolment = (await http.call('POST', '/v1/enrolment-tokens', { body: {} })).body.token;
  const secrets = [...Object.values(http.secrets), enrolment];
  const files = await readdir(http.dataDir);
  assert.ok(files.length > 0);
  for (const file of files) {
    const bytes = await readFile(path.join(http.dataDir, file));
    for (const secret of secrets) assert.not.ok(bytes.includes(secret.slice(4)), file);
  }
  for (const secret of secrets) assert.not.ok(http.logged.join('').includes(secret.slice(4)));
});

test('the first admin token is made once, and again only when no usable one is left', async () => {
  const kept: string[] = [];
  const keep = (token: string) => void kept.push(token);
  await http.tokens.ensureFirst(keep);
  assert.equal(kept, []);
  const { items } = (await http.call('GET', '/v1/tokens')).body;
  for (const { id, role } of items) if (role === 'admin') await http.tokens.revoke(id, 'test');
  await http.tokens.ensureFirst(keep);
  assert.is(kept.length, 1);
  assert.match(kept[0] ?? '', /^ppt_/);
  http.secrets.admin = kept[0] ?? '';
  assert.is((await http.call('GET', '/v1/tokens')).status, 200);
});

test.run();
