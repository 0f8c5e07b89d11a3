import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { WorkerLoad } from '../../bus/bus.ts';
import { waitFor } from '../wait.ts';
import { type Http, startHttp } from './http-harness.ts';

let http: Http;
test.before(async () => {
  http = await startHttp();
});
test.after(() => http.stop());

const make = (body: object) => http.call('POST', '/v1/gateways', { body });
const read = async (name: string) => (await http.call('GET', `/v1/gateways/${name}`, { as: 'viewer' })).body;

function lease(gateway: string, worker: string, load: Partial<WorkerLoad> = {}) {
  const initial = {
    group: 'all',
    runPushServer: true,
    port: 1,
    address: 'ws://127.0.0.1:1',
    connectionLimit: 1,
  };
  const identity = { worker, gateway, host: 'host-1', pid: 4, version: '1.0.0', initial };
  const whole = {
    connections: 3,
    limit: 1000,
    revision: 1,
    admissionRate: 1.5,
    bufferedBytes: 10,
    memoryBytes: 1000,
    cpu: 0.25,
    ...load,
  };
  return http.bus.leases.acquire(identity, whole, 60_000);
}

test('a gateway is registered with defaults and projected for the gateways to read', async () => {
  const { status, headers, body } = await make({ name: 'gw1', address: 'wss://gw1.example.net:13295' });
  assert.is(status, 201);
  assert.is(headers.get('location'), '/v1/gateways/gw1');
  assert.equal(
    [body.groupId, body.runPushServer, body.port, body.connectionLimit, body.state],
    ['all', true, 13295, 50_000, 'down'],
  );
  assert.equal(await read('gw1'), body);
  const { items } = (await http.call('GET', '/v1/gateways')).body;
  assert.equal(items, [body]);
  await waitFor(async () => (await http.bus.directory.gateways()).some((gateway) => gateway.name === 'gw1'));
});

test('a name is taken once, its group must exist', async () => {
  await make({ name: 'twice', address: 'ws://a:1' });
  assert.is((await make({ name: 'twice', address: 'ws://a:1' })).status, 409);
  assert.is((await make({ name: 'x', groupId: 'nowhere', address: 'ws://a:1' })).status, 422);
  assert.is((await http.call('PATCH', '/v1/gateways/twice', { body: { groupId: 'nowhere' } })).status, 422);
});

test('an address is ws or wss with host and port and nothing else', async () => {
  for (const address of ['ws://10.0.0.1', 'wss://gw.example.net:443', 'ws://[::1]:13295', 'wss://a.b:1/']) {
    const { status, body } = await make({ name: `ok-${address.length}`, address });
    assert.is(status, 201, address);
    assert.is(body.address, address.replace(/\/$/, ''));
  }
  for (const address of [
    'http://gw:1',
    'gw:13295',
    'wss://',
    'wss://gw/path',
    'wss://gw?x=1',
    'wss://gw#x',
    'wss://user:secret@gw',
    'wss://@gw',
    'wss://gw:99999',
    'wss://g w',
    '',
  ]) {
    assert.is((await make({ name: 'bad', address })).status, 400, address);
  }
});

test('ports and limits have bounds, and names a form', async () => {
  const good = { name: 'bounds', address: 'ws://a:1' };
  for (const change of [
    { port: 0 },
    { port: 65_536 },
    { port: 1.5 },
    { port: '80' },
    { connectionLimit: 0 },
    { connectionLimit: 1_000_001 },
    { name: 'no spaces' },
    { name: '' },
    { runPushServer: 'yes' },
    { color: 'red' },
  ]) {
    assert.is((await make({ ...good, ...change })).status, 400, JSON.stringify(change));
  }
});

test('settings change together and grow the revision', async () => {
  await make({ name: 'tuned', address: 'ws://a:1' });
  const before = await read('tuned');
  const { status, body } = await http.call('PATCH', '/v1/gateways/tuned', {
    body: { runPushServer: false, port: 4000, connectionLimit: 10 },
  });
  assert.is(status, 200);
  assert.equal([body.state, body.port, body.connectionLimit], ['off', 4000, 10]);
  assert.ok(body.revision > before.revision);
  await waitFor(async () =>
    (await http.bus.directory.gateways()).some(
      (gateway) => gateway.name === 'tuned' && gateway.port === 4000,
    ),
  );
  assert.is((await http.call('PATCH', '/v1/gateways/tuned', { body: {} })).status, 400);
  assert.is((await http.call('PATCH', '/v1/gateways/nothing', { body: { port: 1 } })).status, 404);
});

test('a gateway with workers is up, adds up their load, and is not deleted before they stop', async () => {
  await make({ name: 'live', address: 'ws://a:1' });
  const first = await lease('live', 'live/0');
  const second = await lease('live', 'live/1', { connections: 4 });
  const view = await waitFor(async () => {
    const body = await read('live');
    return body.workers.length === 2 && body;
  });
  assert.is(view.state, 'up');
  assert.is(view.connections, 7);
  assert.equal(
    view.workers.map((worker: { worker: string }) => worker.worker),
    ['live/0', 'live/1'],
  );
  assert.is((await http.call('DELETE', '/v1/gateways/live')).status, 409);
  await http.bus.leases.release(first);
  await http.bus.leases.release(second);
  await waitFor(async () => (await read('live')).state === 'down');
  assert.is((await http.call('DELETE', '/v1/gateways/live')).status, 204);
  assert.is((await http.call('GET', '/v1/gateways/live')).status, 404);
  assert.is((await http.call('DELETE', '/v1/gateways/live')).status, 404);
  await waitFor(
    async () => !(await http.bus.directory.gateways()).some((gateway) => gateway.name === 'live'),
  );
});

test('a worker that cannot do as told makes its gateway a problem, and says which', async () => {
  await make({ name: 'stuck', address: 'ws://a:1' });
  const incarnation = await lease('stuck', 'stuck/0', { problem: 'port 13295 is taken' });
  const view = await waitFor(async () => {
    const body = await read('stuck');
    return body.state === 'problem' && body;
  });
  assert.is(view.problem, 'port 13295 is taken');
  await http.bus.leases.release(incarnation);
});

test.run();
