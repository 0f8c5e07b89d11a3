import { connect, type Socket } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { networkOf } from '../../admin-api/http/failed-attempts.ts';
import { isNestedDeeper } from '../../admin-api/http/json-body.ts';
import { waitFor } from '../wait.ts';
import { enrolBody, type Http, makeDeviceKeys, startHttp } from './http-harness.ts';

const LIMIT = 5;
let http: Http;
test.before.each(async () => {
  http = await startHttp({ failedEnrolmentsPerMinute: LIMIT });
});
test.after.each(() => http.stop());

const enrol = (text: string) => http.call('POST', '/v1/enroll', { as: null, text });
const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth);

test('an enrolment of more than 8 KiB is refused unread, and counts as failed', async () => {
  const long = JSON.stringify({ token: 'x', name: 'x'.repeat(8 * 1_024) });
  for (let n = 0; n < LIMIT; n++) assert.is((await enrol(long)).status, 413);
  assert.is((await enrol(long)).status, 429);
});

test('whatever is wrong with an enrolment counts, and the count comes before its body is read', async () => {
  const wrong = ['{"token": ', '{}', '[]', JSON.stringify({ token: [['x']] }), nested(100)];
  for (const text of wrong) assert.is((await enrol(text)).status, 400, text.slice(0, 20));
  const answer = await enrol('{"token": ');
  assert.is(answer.status, 429);
  assert.ok(Number(answer.headers.get('retry-after')) > 0);
  assert.is((await enrol('x'.repeat(100_000))).status, 429);
});

test('failures of others do not keep a device from enrolling: those that succeed do not count', async () => {
  const { token } = (await http.call('POST', '/v1/enrolment-tokens', { body: { uses: 2 * LIMIT } })).body;
  for (let n = 0; n < 2 * LIMIT; n++) {
    assert.is((await enrol(JSON.stringify(await enrolBody(token, makeDeviceKeys())))).status, 201);
  }
});

test('every route that takes a body refuses one that is nested too deep with 400', async () => {
  const deep = nested(100_000);
  const wishes: [string, string, string][] = [
    ['POST', '/v1/commands', `{"type":"message","args":{"topic":"x","body":${deep}},"target":{"all":true}}`],
    ['POST', '/v1/tunnels', `{"deviceId":${deep},"port":22}`],
    ['POST', '/v1/groups', `{"id":${deep}}`],
    ['PATCH', '/v1/devices/nobody', `{"name":${deep}}`],
    ['POST', '/v1/gateways', `{"name":${deep}}`],
    ['POST', '/v1/tokens', `{"name":${deep}}`],
    ['POST', '/v1/enrolment-tokens', `{"note":${deep}}`],
    ['POST', '/v1/locate', deep],
  ];
  for (const [method, path, text] of wishes) {
    const { status, body } = await http.call(method, path, { text });
    assert.ok(status === 400 || (path === '/v1/locate' && status === 413), `${path}: ${status}`);
    assert.ok(body.code === 'bad-request' || body.code === 'too-large', path);
  }
  assert.is(
    (await http.call('POST', '/v1/tunnels', { as: 'viewer', text: wishes[1]?.[2] ?? '' })).status,
    400,
  );
});

test('queries and stored texts that are invalid never cause a 500', async () => {
  for (const deviceId of [[['x']], { toString: 1 }, { valueOf: {} }, 7, null, true, nested(20)]) {
    const answer = await http.call('POST', '/v1/tunnels', { as: 'viewer', body: { deviceId, port: [22] } });
    assert.is(answer.status, 403, JSON.stringify(deviceId));
  }
  const { items } = (await http.call('GET', '/v1/audit')).body;
  assert.is(items.filter(({ action }: { action: string }) => action === 'tunnel.refused').length, 7);
});

test('the body of a request to nowhere is not read', async () => {
  for (const text of ['{"broken', nested(100_000), 'x'.repeat(2_000_000)]) {
    assert.is((await http.call('POST', '/v1/nowhere', { as: null, text })).status, 404);
    assert.is((await http.call('PUT', '/v1/commands', { as: null, text })).status, 405);
  }
});

test('silent connections keep no operator out: they are limited, and closed to make room', async () => {
  const bound = await startHttp({ maxUnauthenticated: 40 });
  const port = Number(new URL(bound.url).port);
  const sockets = new Set<Socket>();
  let over = false;
  const open = (n: number) => {
    if (over) return;
    const localAddress = `127.0.9.${1 + (n % 8)}`;
    const socket = connect({ port, host: '127.0.0.1', localAddress }).on('error', () => {});
    sockets.add(socket);
    socket.on('close', () => {
      sockets.delete(socket);
      setTimeout(() => open(n), 5);
    });
  };
  const figure = async (name: string) => {
    const text = await (await fetch(`${bound.url}/metrics`)).text();
    const lines = text.match(new RegExp(`^pushpoint_admin_${name}(\\{.*\\})? \\d+$`, 'gm')) ?? [];
    return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
  };
  try {
    for (let n = 0; n < 100; n++) open(n);
    await waitFor(async () => (await figure('unauthenticated_connections_closed_total')) > 100);
    for (let n = 0; n < 20; n++) assert.is((await bound.call('GET', '/v1/groups')).status, 200);
    assert.ok((await figure('unauthenticated_connections')) <= 40);
  } finally {
    over = true;
    for (const socket of sockets) socket.destroy();
    await bound.stop();
  }
});

test('a connection is kept for more requests once it showed a token, and not before', async () => {
  const open = await fetch(`${http.url}/live`);
  assert.is(open.headers.get('connection'), 'close');
  assert.is.not((await http.call('GET', '/v1/groups')).headers.get('connection'), 'close');
});

test('nesting is counted outside of strings only', () => {
  assert.is(isNestedDeeper(nested(32), 32), false);
  assert.is(isNestedDeeper(nested(33), 32), true);
  assert.is(isNestedDeeper(JSON.stringify({ text: '[[[["{{{{\\"[[', more: ['\\', '"[[['] }), 2), false);
  assert.is(isNestedDeeper('[[[[]]]]'.repeat(9), 4), false);
  assert.is(isNestedDeeper('"[[[[[ never ends', 2), false);
});

test('failures count for an IPv4 address, and for the /64 of an IPv6 address', () => {
  assert.is(networkOf('192.0.2.7'), '192.0.2.7');
  assert.is(networkOf('::ffff:192.0.2.7'), '192.0.2.7');
  assert.is(networkOf('2001:db8:0:1:aaaa:bbbb:cccc:dddd'), '2001:db8:0:1');
  assert.is(networkOf('2001:db8:0:1::7'), '2001:db8:0:1');
  assert.is(networkOf('2001:db8::1'), '2001:db8:0:0');
  assert.is(networkOf('::1'), '0:0:0:0');
  assert.is(networkOf('fe80::1%eth0'), 'fe80:0:0:0');
});

test.run();
