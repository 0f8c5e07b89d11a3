import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { HttpServices } from '../../admin-api/http/services.ts';
import { Problem } from '../../admin-api/problems.ts';
import { WAITING_MAX } from '../../admin-api/services/command-intake.ts';
import { waitFor } from '../wait.ts';
import { type Http, startHttp } from './http-harness.ts';
import { addCommand, addDevices, report } from './store-fixtures.ts';

let http: Http;
let device: string;
let commands: HttpServices['commands'];
test.before(async () => {
  http = await startHttp({}, (services) => {
    commands = services.commands;
    return {};
  });
  await http.call('POST', '/v1/groups', { body: { id: 'berlin', name: 'Berlin' } });
  device = await http.enrol('berlin');
});
test.after(() => http.stop());

const create = (body: object, headers: Record<string, string> = {}) =>
  http.call('POST', '/v1/commands', { as: 'operator', body, headers });
const toDevice = (more: object = {}) => ({ type: 'sync', target: { devices: [device] }, ...more });

test('a command is answered 202 at once with where to read it', async () => {
  const { status, headers, body } = await create(toDevice({ args: { full: true }, ttl: 60, timeout: 1.5 }));
  assert.is(status, 202);
  assert.is(headers.get('location'), `/v1/commands/${body.id}`);
  assert.equal(body.args, { full: true });
  assert.is(body.timeout, 1.5);
  assert.equal([body.expanded, body.counts.total], [true, 1]);
  assert.is(Date.parse(body.expiresAt) - Date.parse(body.issuedAt), 60_000);
  const read = await http.call('GET', `/v1/commands/${body.id}`, { as: 'viewer' });
  assert.is(read.body.counts.queued, 1);
  assert.is(read.body.counts.total, 1);
});

test('commands above the queue limit are refused with Retry-After; the others are stored', async () => {
  const answers = await Promise.allSettled(
    Array.from({ length: WAITING_MAX + 3 }, () =>
      commands.create({ type: 'message', args: { topic: 't' }, target: { devices: [device] } }, 'test'),
    ),
  );
  const refused = answers.flatMap((answer) =>
    answer.status === 'rejected' ? [answer.reason as Problem] : [],
  );
  assert.is(refused.length, 3);
  for (const problem of refused) {
    assert.instance(problem, Problem);
    assert.equal([problem.status, problem.code, problem.retryAfter], [503, 'unavailable', 1]);
  }
});

test('every type is taken with the arguments it wants', async () => {
  for (const body of [
    toDevice(),
    toDevice({ type: 'statistics' }),
    toDevice({ type: 'statistics', args: {} }),
    toDevice({ type: 'task.start', args: { task: 'backup' } }),
    toDevice({ type: 'task.stop', args: { task: 'backup' } }),
    toDevice({ type: 'message', args: { topic: 'notice', body: { deep: [1, null, 'x'] } } }),
    { type: 'sync', target: { group: 'berlin' }, collapseKey: null, offline: 'skip' },
    { type: 'sync', target: { all: true }, collapseKey: 'mine', offline: 'queue' },
    toDevice({ expiresAt: new Date(Date.now() + 3_600_000).toISOString() }),
  ]) {
    const { status, body: answer } = await create(body);
    assert.is(status, 202, JSON.stringify(answer));
  }
});

test('arguments, targets and limits that do not fit are refused, and the answer says where', async () => {
  const cases: [object, string][] = [
    [{ type: 'dance', target: { all: true } }, '/body/type'],
    [{ target: { all: true } }, '/body/type'],
    [{ type: 'sync' }, '/body/target'],
    [toDevice({ surprise: 1 }), '/body/surprise'],
    [toDevice({ args: { full: 'yes' } }), '/body/args/full'],
    [toDevice({ args: { half: true } }), '/body/args/half'],
    [toDevice({ type: 'task.start' }), '/body/args'],
    [toDevice({ type: 'task.start', args: { task: '../etc' } }), '/body/args/task'],
    [toDevice({ type: 'message', args: {} }), '/body/args/topic'],
    [{ type: 'sync', target: { devices: [] } }, '/body/target'],
    [{ type: 'sync', target: { devices: [device], group: 'berlin' } }, '/body/target'],
    [{ type: 'sync', target: { all: false } }, '/body/target'],
    [{ type: 'sync', target: 'everybody' }, '/body/target'],
    [toDevice({ ttl: 0 }), '/body/ttl'],
    [toDevice({ ttl: '60' }), '/body/ttl'],
    [toDevice({ ttl: 31 * 86_400 }), '/body/ttl'],
    [toDevice({ ttl: 5, expiresAt: '2030-01-01T00:00:00Z' }), '/body/expiresAt'],
    [toDevice({ expiresAt: 'tomorrow' }), '/body/expiresAt'],
    [toDevice({ timeout: -1 }), '/body/timeout'],
    [toDevice({ timeout: 8 * 86_400 }), '/body/timeout'],
    [toDevice({ offline: 'maybe' }), '/body/offline'],
    [toDevice({ collapseKey: '' }), '/body/collapseKey'],
  ];
  for (const [body, path] of cases) {
    const answer = await create(body);
    assert.is(answer.status, 400, JSON.stringify(body));
    assert.is(answer.body.code, 'bad-request');
    assert.ok(
      answer.body.errors?.some((error: { path: string }) => error.path.startsWith(path)),
      `${JSON.stringify(body)}: ${JSON.stringify(answer.body.errors)}`,
    );
  }
});

test('arguments that cannot travel are refused: too deep, too long', async () => {
  let deep: unknown = 1;
  for (let i = 0; i < 40; i++) deep = [deep];
  const tooDeep = await create(toDevice({ type: 'message', args: { topic: 'x', body: deep } }));
  assert.is(tooDeep.status, 400);
  const nested = '['.repeat(200_000) + ']'.repeat(200_000);
  const deepest = `{"type":"message","target":{"all":true},"args":{"topic":"x","body":${nested}}}`;
  assert.is((await http.call('POST', '/v1/commands', { text: deepest })).status, 400);
  const tooLong = await create(toDevice({ type: 'message', args: { topic: 'x', body: 'x'.repeat(40_000) } }));
  assert.is(tooLong.status, 413);
});

test('a time that is past, and a device or group that does not exist, are refused with 422', async () => {
  const past = await create(toDevice({ expiresAt: '2020-01-01T00:00:00Z' }));
  assert.is(past.status, 422);
  assert.is(past.body.code, 'past-expiry');
  assert.is((await create(toDevice({ expiresAt: '2099-01-01T00:00:00Z' }))).status, 400, 'too far ahead');
  for (const target of [{ devices: ['nobody'] }, { group: 'nowhere' }]) {
    const { status, body } = await create({ type: 'sync', target });
    assert.is(status, 422);
    assert.is(body.code, 'unknown-reference');
  }
});

test('an Idempotency-Key with the same body returns the same command; another body is refused', async () => {
  const headers = { 'idempotency-key': 'night-sync-1' };
  const first = await create(toDevice({ ttl: 60 }), headers);
  assert.is(first.headers.get('idempotency-replayed'), null);
  const again = await create(toDevice({ ttl: 60 }), headers);
  assert.is(again.status, 202);
  assert.is(again.body.id, first.body.id);
  assert.is(again.headers.get('idempotency-replayed'), 'true');
  assert.is(again.body.counts.total, 1);
  const other = await create(toDevice({ ttl: 61 }), headers);
  assert.is(other.status, 409);
  assert.is(other.body.code, 'idempotency-conflict');
  const elsewhere = await http.call('POST', '/v1/commands', {
    as: 'admin',
    body: toDevice({ ttl: 61 }),
    headers,
  });
  assert.is(elsewhere.status, 202, 'another caller has keys of its own');
  assert.is((await create(toDevice(), { 'idempotency-key': 'x'.repeat(129) })).status, 400);
});

test('commands are listed by type, state and device, and their executions by state', async () => {
  const made = await create(toDevice({ type: 'task.start', args: { task: 'listed' } }));
  const { id } = made.body;
  const ids = async (query: string) =>
    (await http.call('GET', `/v1/commands?${query}`)).body.items.map((item: { id: string }) => item.id);
  assert.ok((await ids('type=task.start')).includes(id));
  assert.not.ok((await ids('type=sync')).includes(id));
  assert.ok((await ids(`state=open&device=${device}`)).includes(id));
  assert.not.ok((await ids('state=finished')).includes(id));
  const queued = await http.call('GET', `/v1/commands/${id}/executions?state=queued`);
  assert.is(queued.body.items[0].deviceId, device);
  assert.equal((await http.call('GET', `/v1/commands/${id}/executions?state=failed`)).body.items, []);
  const ofDevice = await http.call('GET', `/v1/devices/${device}/executions?state=queued&limit=1`);
  assert.is(ofDevice.body.items.length, 1);
  for (const route of [
    '/v1/commands/nothing',
    '/v1/commands/nothing/executions',
    '/v1/devices/nobody/executions',
  ]) {
    assert.is((await http.call('GET', route)).status, 404, route);
  }
});

test('a command is canceled, with or without a body', async () => {
  for (const body of [undefined, {}, { force: true }]) {
    const made = await create(toDevice({ type: 'task.stop', args: { task: 'x' } }));
    const { status, body: canceled } = await http.call('POST', `/v1/commands/${made.body.id}/cancel`, {
      as: 'operator',
      ...(body && { body }),
    });
    assert.is(status, 202);
    assert.ok(canceled.cancelRequestedAt);
    assert.is(canceled.counts.canceled, 1);
  }
  assert.is((await http.call('POST', '/v1/commands/nothing/cancel')).status, 404);
  const made = await create(toDevice());
  const refused = await http.call('POST', `/v1/commands/${made.body.id}/cancel`, { body: { force: 1 } });
  assert.is(refused.status, 400);
});

test('why a command has not run is said in a sentence and as data', async () => {
  const made = await create(toDevice());
  const { status, body } = await http.call('GET', `/v1/devices/${device}/why?command=${made.body.id}`, {
    as: 'viewer',
  });
  assert.is(status, 200);
  assert.match(body.sentence, /\.$/);
  assert.is((await http.call('GET', `/v1/devices/${device}/why?command=nothing`)).status, 404);
  assert.is((await http.call('GET', `/v1/devices/${device}/why`)).status, 400);
});

test('the status counts devices and open commands', async () => {
  const { body } = await http.call('GET', '/v1/status', { as: 'viewer' });
  assert.is(body.devices.total, 1);
  assert.ok(body.openCommands > 0);
  assert.is(body.store.kind, 'sqlite');
  assert.is(body.bus.available, true);
  assert.match(body.installation.id, /^i[0-9a-z]{15}$/);
  assert.is(body.installation.epoch, 1);
  await waitFor(async () => (await http.call('GET', '/v1/status')).body.directory.generation !== null);
});

test('lists leave out returned data unless asked for it, and then have small pages', async () => {
  const { store } = http;
  const at = Date.now();
  const devices = await addDevices(store, 'long', 30);
  await addCommand(store, 'c-long', { issuedAt: at, expiresAt: at + 60_000, target: { devices } });
  const data = { output: 'x'.repeat(30_000) };
  await store.executions.advance(devices.map((device) => report('c-long', device, 'succeeded', { data })));
  const list = async (query: string) =>
    (await http.call('GET', `/v1/commands/c-long/executions?limit=1000${query}`)).body;
  const plain = await list('');
  assert.is(plain.items.length, 30);
  assert.ok(plain.items.every((item: object) => !('data' in item)));
  const full = await list('&data=true');
  assert.is(full.items.length, 25);
  assert.equal(full.items[0].data, data);
  const rest = await list(`&data=true&cursor=${encodeURIComponent(full.next)}`);
  assert.equal([rest.items.length, rest.next], [5, null]);
  const ofDevice = await http.call('GET', `/v1/devices/${devices[0]}/executions`);
  assert.ok(!('data' in ofDevice.body.items[0]));
  const one = await http.call('GET', `/v1/commands/c-long/executions/${devices[0]}`);
  assert.equal(one.body.data, data);
  assert.is((await http.call('GET', '/v1/commands/c-long/executions/nobody')).status, 404);
});

test('a secret command shows neither arguments nor results; an operator may reveal one result', async () => {
  const args = { topic: 'credentials', body: 'correct horse' };
  const { status, body: command } = await create(toDevice({ type: 'message', args, secret: true }));
  assert.equal([status, command.secret, command.args], [202, true, 'secret']);
  assert.is((await create(toDevice())).body.secret, false);
  const path = `/v1/commands/${command.id}`;
  const read = await http.call('GET', path, { as: 'admin' });
  assert.equal([read.body.secret, read.body.args], [true, 'secret']);
  const listed = await http.call('GET', '/v1/commands?type=message', { as: 'admin' });
  assert.not.match(JSON.stringify(listed.body), 'correct horse');

  const execution = `${path}/executions/${device}`;
  await http.store.executions.advance([report(command.id, device, 'acked', { ackedAt: Date.now() })]);
  for (const route of [
    execution,
    `${path}/executions?data=true`,
    `/v1/devices/${device}/executions?data=true`,
  ]) {
    const { body } = await http.call('GET', route, { as: 'admin' });
    const row = body.items
      ? body.items.find((item: { commandId: string }) => item.commandId === command.id)
      : body;
    assert.equal([row.secret, row.data], [true, null], route);
  }
  assert.is((await http.call('POST', `${execution}/reveal`, { as: 'viewer' })).status, 403);
  const revealed = await http.call('POST', `${execution}/reveal`, { as: 'operator' });
  assert.equal([revealed.status, revealed.body.state, revealed.body.data], [200, 'acked', null]);
  assert.is((await http.call('POST', `${path}/executions/nobody/reveal`, { as: 'operator' })).status, 404);
  const why = await http.call('GET', `/v1/devices/${device}/why?command=${command.id}`, { as: 'viewer' });
  assert.is(why.body.data.secret, true);
});

test.run();
