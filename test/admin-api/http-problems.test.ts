import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request as httpsRequest } from 'node:https';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Health } from '../../admin-api/health/health.ts';
import type { StoreWatch } from '../../admin-api/health/store-watch.ts';
import type { HttpServices } from '../../admin-api/http/services.ts';
import { StoreUnavailable } from '../../admin-api/store/store.ts';
import { BusUnavailable } from '../../bus/bus.ts';
import { Loops } from '../../health/health.ts';
import { waitFor } from '../wait.ts';
import { type Http, startHttp } from './http-harness.ts';
import { CERT, KEY } from './localhost-certificate.ts';

let http: Http;
test.before(async () => {
  http = await startHttp();
});
test.after(() => http.stop());

function withBus(store: StoreWatch, bus: HttpServices['bus']): Pick<HttpServices, 'bus' | 'health'> {
  return { bus, health: new Health({ bus, store, loops: new Loops(60) }) };
}

function assertProblem(answer: Awaited<ReturnType<Http['call']>>, status: number, code: string): void {
  assert.is(answer.status, status, JSON.stringify(answer.body));
  assert.match(answer.headers.get('content-type') ?? '', /^application\/problem\+json/);
  assert.is(answer.body.code, code);
  assert.is(answer.body.type, `urn:pushpoint:problem:${code}`);
  assert.is(answer.body.status, status);
  assert.ok(answer.body.detail.length > 0);
}

test('malformed, empty, poisoned and mistyped bodies are problems', async () => {
  for (const text of [
    '{',
    '{"name":',
    'nothing',
    '{"name":"x","__proto__":{"admin":true}}',
    '"text"',
    '[]',
    '7',
    '',
  ]) {
    const answer = await http.call('POST', '/v1/groups', {
      text,
      headers: { 'content-type': 'application/json' },
    });
    assertProblem(answer, 400, 'bad-request');
  }
  const latin1 = await fetch(`${http.url}/v1/groups`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${http.secrets.admin}` },
    body: Buffer.from('{"name":"M\xfcnchen"}', 'latin1'),
  });
  assert.is(latin1.status, 400);
  assert.is(((await latin1.json()) as { detail: string }).detail, 'The body is not UTF-8.');
  assertProblem(await http.call('POST', '/v1/groups'), 400, 'bad-request');
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/xml']) {
    const answer = await http.call('POST', '/v1/groups', {
      text: 'name=x',
      headers: { 'content-type': type },
    });
    assertProblem(answer, 415, 'unsupported-media-type');
  }
});

test('a body over the limit is refused with 413', async () => {
  const answer = await http.call('POST', '/v1/groups', { body: { name: 'x'.repeat(1024 * 1024) } });
  assertProblem(answer, 413, 'too-large');
});

test('a client that sends a body over the limit reads the answer, however late the body ends', async () => {
  const length = 2 * 1024 * 1024;
  const { port } = new URL(http.url);
  const socket = connect(Number(port), '127.0.0.1');
  socket.write(
    'POST /v1/groups HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nconnection: keep-alive\r\n' +
      `authorization: Bearer ${http.secrets.admin}\r\ncontent-length: ${length}\r\n\r\n`,
  );
  const [first] = await once(socket, 'data');
  assert.match(String(first), /^HTTP\/1\.1 413 /);
  const half = 'x'.repeat(length / 2);
  for (const part of [half, half]) await new Promise((resolve) => socket.write(part, resolve));
  socket.write('GET /v1/nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
  const [second] = await once(socket, 'data');
  assert.match(String(second), /^HTTP\/1\.1 40[14] /, 'the connection is still of use');
  socket.destroy();
});

test('unknown members, wrong types and wrong lengths are named with their place', async () => {
  const cases: [object, string][] = [
    [{ name: 'x', color: 'red' }, '/body/color'],
    [{ name: 7 }, '/body/name'],
    [{ name: '' }, '/body/name'],
    [{ name: 'x'.repeat(129) }, '/body/name'],
    [{ name: 'a\u0000b' }, '/body/name'],
    [{ name: 'x', id: '-x' }, '/body/id'],
    [{}, '/body/name'],
  ];
  for (const [body, place] of cases) {
    const answer = await http.call('POST', '/v1/groups', { body });
    assertProblem(answer, 400, 'bad-request');
    assert.is(answer.body.errors[0].path, place);
    assert.ok(answer.body.detail.includes(place));
  }
});

test('queries and paths are checked: unknown parameters, bad cursors, limits and ids', async () => {
  for (const route of [
    '/v1/devices?colour=red',
    '/v1/devices?limit=0',
    '/v1/devices?limit=1001',
    '/v1/devices?limit=ten',
    '/v1/devices?state=dancing',
    '/v1/devices?cursor=nonsense',
    '/v1/groups?cursor=%00',
    '/v1/commands?cursor=W10',
    '/v1/audit?cursor=W10',
    '/v1/devices?text=%00',
    '/v1/devices/%00',
    '/v1/devices/has%20space',
    '/v1/events?after=-1',
  ]) {
    assertProblem(await http.call('GET', route), 400, 'bad-request');
  }
  assert.is((await http.call('GET', '/v1/devices?limit=1000')).status, 200);
});

test('an address that is not there is 404, a method that is not is 405 with those that are', async () => {
  for (const route of ['/v1', '/v2/groups', '/v1/groups/a/b/c', '/favicon.ico']) {
    assertProblem(await http.call('GET', route, { as: null }), 404, 'not-found');
  }
  const answer = await http.call('PUT', '/v1/groups/all');
  assertProblem(answer, 405, 'method-not-allowed');
  assert.is(answer.headers.get('allow'), 'DELETE, GET, HEAD, PATCH');
  assertProblem(await http.call('GET', '/v1/%E0%A4%A'), 400, 'bad-request');
});

test('bytes that are not HTTP are answered with a problem too', async () => {
  const port = Number(new URL(http.url).port);
  const answer = await new Promise<string>((resolve, reject) => {
    let text = '';
    const socket = connect(port, '127.0.0.1', () => socket.write('\u0016\u0003 nonsense\r\n\r\n'));
    socket.on('data', (chunk) => {
      text += chunk;
    });
    socket.on('end', () => resolve(text));
    socket.on('error', reject);
  });
  assert.match(answer, /^HTTP\/1\.1 400 /);
  assert.match(answer, /application\/problem\+json/);
});

test('answers are not to be cached, sniffed or framed, and other origins are not let in', async () => {
  const { headers } = await http.call('GET', '/v1/groups', { headers: { origin: 'https://evil.example' } });
  assert.is(headers.get('cache-control'), 'no-store');
  assert.is(headers.get('x-content-type-options'), 'nosniff');
  assert.is(headers.get('x-frame-options'), 'DENY');
  assert.is(headers.get('access-control-allow-origin'), null);
});

test('an unexpected error is logged, and its details stay private', async () => {
  const broken = await startHttp({}, () => ({
    explain: () => Promise.reject(new Error('password=hunter2')),
  }));
  try {
    const answer = await broken.call('GET', '/v1/devices/a/why?command=b');
    assertProblem(answer, 500, 'internal');
    assert.not.ok(JSON.stringify(answer.body).includes('hunter2'));
    assert.match(answer.body.instance, /^urn:pushpoint:request:/);
    const line = broken.logged.find((text) => text.includes('hunter2')) ?? '';
    assert.ok(line.includes(answer.body.instance.split(':').pop()));
  } finally {
    await broken.stop();
  }
});

test('while the store or the bus is away, the answer is 503 with when to try again', async () => {
  const away = await startHttp({}, ({ commands, bus, storeWatch }) => ({
    explain: () => Promise.reject(new StoreUnavailable('no database')),
    commands: {
      ...commands,
      create: () => Promise.reject(new BusUnavailable('no redis')),
      cancel: commands.cancel,
    },
    ...withBus(storeWatch, {
      ...bus,
      receipts: bus.receipts,
      status: () => ({ available: false, since: 0, reason: 'no redis' }),
    }),
  }));
  try {
    const answers = [
      await away.call('GET', '/v1/devices/a/why?command=b'),
      await away.call('POST', '/v1/commands', { body: { type: 'sync', target: { all: true } } }),
    ];
    for (const answer of answers) {
      assertProblem(answer, 503, 'unavailable');
      assert.is(answer.headers.get('retry-after'), '5');
    }
    const ready = await away.call('GET', '/ready', { as: null });
    assert.is(ready.status, 503);
    assert.equal(
      [ready.body.ready, ready.body.dependencies.store.ok, ready.body.dependencies.bus],
      [false, true, { ok: false, since: '1970-01-01T00:00:00.000Z', reason: 'no redis' }],
    );
    assert.is(ready.body.since, '1970-01-01T00:00:00.000Z');
    const status = await away.call('GET', '/v1/status');
    assert.equal(
      [status.body.bus.available, status.body.bus.reason, status.body.receiptsBacklog],
      [false, 'no redis', null],
    );
  } finally {
    await away.stop();
  }
});

test('a request that does not arrive in time gets 408 and may be repeated; garbage gets 400', async () => {
  const answerTo = async (code: string) => {
    const connected = once(http.app.server, 'connection');
    const client = connect(Number(new URL(http.url).port), '127.0.0.1');
    const [socket] = (await connected) as [Socket];
    http.app.server.emit('clientError', Object.assign(new Error('as the server tells it'), { code }), socket);
    let text = '';
    for await (const chunk of client) text += String(chunk);
    return text;
  };
  const late = await answerTo('ERR_HTTP_REQUEST_TIMEOUT');
  assert.match(
    late,
    /^HTTP\/1\.1 408 Request Timeout\r\n.*\r\nretry-after: 1\r\n.*"code":"request-timeout"/s,
  );
  assert.match(await answerTo('HPE_INVALID_METHOD'), /^HTTP\/1\.1 400 Bad Request\r\n/);
});

test('health and metrics are open, and metrics name routes, never addresses', async () => {
  assert.is((await http.call('GET', '/live', { as: null })).status, 200);
  const { ready, dependencies } = (await http.call('GET', '/ready', { as: null })).body;
  assert.equal([ready, dependencies.store.ok, dependencies.bus.ok], [true, true, true]);
  await http.call('GET', '/v1/devices/secret-name');
  const { body } = await http.call('GET', '/metrics', { as: null });
  assert.match(
    body,
    /pushpoint_admin_http_request_seconds_count\{method="GET",route="\/v1\/devices\/:id",status="404"\}/,
  );
  assert.not.match(body, /secret-name/);
});

test('with a certificate the API speaks TLS only', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'pushpoint-tls-'));
  const [keyFile, certFile] = [path.join(folder, 'key.pem'), path.join(folder, 'cert.pem')];
  await writeFile(certFile, CERT);
  await writeFile(keyFile, KEY);
  const secure = await startHttp({ tls: { certFile, keyFile } });
  try {
    assert.match(secure.url, /^https:/);
    const status = await new Promise((resolve, reject) => {
      const sent = httpsRequest(`${secure.url}/live`, { ca: CERT, agent: false }, (response) => {
        response.resume();
        resolve(response.statusCode);
      });
      sent.on('error', reject).end();
    });
    assert.is(status, 200);
    assert.ok(
      await fetch(secure.url.replace('https', 'http')).then(
        () => false,
        () => true,
      ),
    );
  } finally {
    await secure.stop();
    await rm(folder, { recursive: true });
  }
});

test('closing ends idle connections at once and cuts what hangs at the deadline', async () => {
  const closing = await startHttp({ closeDeadlineMs: 200 }, () => ({ explain: () => new Promise(() => {}) }));
  await closing.call('GET', '/live');
  const hanging = fetch(`${closing.url}/v1/devices/a/why?command=b`, {
    headers: { authorization: `Bearer ${closing.secrets.admin}` },
  }).then(
    () => 'answered',
    () => 'cut',
  );
  await new Promise<void>((resolve) => {
    const look = () =>
      closing.app.server.getConnections((_error, count) => (count > 0 ? resolve() : setImmediate(look)));
    look();
  });
  const startedAt = performance.now();
  await closing.stop();
  assert.ok(performance.now() - startedAt < 3000);
  assert.is(await hanging, 'cut');
});

test('closing cuts at the deadline what never began its TLS handshake', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'pushpoint-tls-'));
  const [keyFile, certFile] = [path.join(folder, 'key.pem'), path.join(folder, 'cert.pem')];
  await writeFile(certFile, CERT);
  await writeFile(keyFile, KEY);
  const secure = await startHttp({ tls: { certFile, keyFile }, closeDeadlineMs: 200 });
  const accepted = once(secure.app.server, 'connection');
  const { hostname, port } = new URL(secure.url);
  const silent = connect({ host: hostname, port: Number(port) });
  silent.on('error', () => {});
  await accepted;
  let stopped = false;
  const stopping = secure.stop().then(() => {
    stopped = true;
  });
  try {
    await waitFor(() => stopped, { timeoutMs: 10_000, what: 'the server to be closed' });
  } finally {
    silent.destroy();
    await stopping;
    await rm(folder, { recursive: true });
  }
});

test('a stopping server tells a request on an open connection when to try again', async () => {
  let release: (() => void) | undefined;
  const explain = () =>
    new Promise<never>((_, reject) => {
      release = () => reject(new BusUnavailable('away'));
    });
  const closing = await startHttp({}, () => ({ explain }));
  const { hostname, port } = new URL(closing.url);
  const socket = connect({ host: hostname, port: Number(port) });
  let heard = '';
  socket.on('data', (data) => {
    heard += data.toString();
  });
  const authorization = `authorization: Bearer ${closing.secrets.admin}`;
  socket.write(`GET /v1/devices/a/why?command=b HTTP/1.1\r\nhost: a\r\n${authorization}\r\n\r\n`);
  await waitFor(() => release !== undefined, { what: 'the first request' });
  const stopped = closing.stop();
  await waitFor(() => !closing.app.server.listening, { what: 'the server to stop listening' });
  socket.write(`GET /v1/status HTTP/1.1\r\nhost: a\r\n${authorization}\r\n\r\n`);
  await new Promise((resolve) => setImmediate(resolve));
  release?.();
  await stopped;
  const second = heard.slice(heard.lastIndexOf('HTTP/1.1'));
  assert.match(second, /^HTTP\/1.1 503[\s\S]*retry-after: \d[\s\S]*The server is stopping/i);
});

test.run();
