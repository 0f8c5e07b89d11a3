/**
 * The API behind reverse proxies and in front of tools: a path prefix, request ids.
 */
import { createServer, request as send } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Http, startHttp } from './http-harness.ts';

let http: Http;
test.before(async () => {
  http = await startHttp({ basePath: '/push' });
});
test.after(() => http.stop());

/** A proxy that serves the API below `/push` and takes the path off, or passes it on. */
async function throughProxy(takesOff: boolean, use: (url: string) => Promise<void>): Promise<void> {
  const proxy = createServer((incoming, outgoing) => {
    const path = takesOff ? (incoming.url ?? '').replace(/^\/push/, '') || '/' : incoming.url;
    const onward = send(
      `${http.url}${path}`,
      { method: incoming.method, headers: incoming.headers },
      (answer) => {
        outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
        answer.pipe(outgoing);
      },
    );
    incoming.pipe(onward);
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  try {
    await use(`http://127.0.0.1:${(proxy.address() as AddressInfo).port}`);
  } finally {
    proxy.closeAllConnections();
    await new Promise((resolve) => proxy.close(resolve));
  }
}

for (const takesOff of [true, false]) {
  const how = takesOff ? 'takes the path off' : 'passes the path on';

  test(`below a path: a proxy that ${how} leads to everything that answers name`, async () => {
    await throughProxy(takesOff, async (url) => {
      const headers = { authorization: `Bearer ${http.secrets.admin}`, 'content-type': 'application/json' };
      const body = JSON.stringify({ name: `shops ${how}` });
      const made = await fetch(`${url}/push/v1/groups`, { method: 'POST', headers, body });
      assert.is(made.status, 201);
      const location = made.headers.get('location') ?? '';
      assert.match(location, /^\/push\/v1\/groups\//);
      const read = await fetch(`${url}${location}`, { headers });
      assert.is(read.status, 200);
      assert.is(((await read.json()) as { name: string }).name, `shops ${how}`);

      const document = (await (await fetch(`${url}/push/openapi.json`)).json()) as {
        servers: { url: string }[];
      };
      assert.is(document.servers[0]?.url, '/push');
      const page = await fetch(`${url}/push/`);
      assert.is(page.status, 200);
      assert.match(page.url, /\/push\/docs\/?/);
      const scripts = [...(await page.text()).matchAll(/(?:src|href)="([^"]+\.(?:js|css))"/g)];
      assert.ok(scripts.length > 0);
      for (const [, path = ''] of scripts) {
        const script = await fetch(new URL(path, page.url));
        assert.is(script.status, 200, `${script.url}`);
      }
    });
  });
}

test('the path is a whole part of an address, and probes need none', async () => {
  for (const path of ['/pusher/live', '/push2/live', '/push/push/live']) {
    assert.is((await http.call('GET', path, { as: null })).status, 404, path);
  }
  for (const path of ['/live', '/push/live']) {
    const answer = await fetch(`${http.url}${path}`);
    assert.is(answer.status, 200, path);
  }
});

test('every answer has a request id: the one that came, or a new one', async () => {
  const given = await http.call('GET', '/v1/groups', { headers: { 'x-request-id': 'edge-7.a_b' } });
  assert.is(given.headers.get('x-request-id'), 'edge-7.a_b');
  const refused = await http.call('GET', '/v1/groups/none', { headers: { 'x-request-id': 'edge-8' } });
  assert.is(refused.headers.get('x-request-id'), 'edge-8');
  assert.is(refused.body.instance, 'urn:pushpoint:request:edge-8');
  const ids = new Set<string>();
  for (const headers of [{}, { 'x-request-id': 'two words' }, { 'x-request-id': 'x'.repeat(129) }, {}]) {
    const id = (await http.call('GET', '/v1/groups', { headers })).headers.get('x-request-id') ?? '';
    assert.match(id, /^[\w-]{10,}-\w+$/);
    ids.add(id);
  }
  assert.is(ids.size, 4);
});

test.run();
