import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { membershipCheck } from '../../gateway/admission/membership-check.ts';
import { createSignatureCheck } from '../../gateway/admission/signature-check.ts';
import { CLOSE, decodeGatewayMessage, decodeOrderBody } from '../../protocol/index.ts';
import { type Http, startHttp } from './http-harness.ts';
import { INITIAL_SETTINGS } from './initial-settings.ts';

let http: Http;
test.before(async () => {
  http = await startHttp();
});
test.after(() => http.stop());

async function groupNamed(id: string, parentId = 'all') {
  const { status, body } = await http.call('POST', '/v1/groups', { body: { id, name: id, parentId } });
  assert.is(status, 201);
  return body;
}

async function events(type: string) {
  return (await http.store.events.after(0, 10_000)).filter((event) => event.type === type);
}

function membershipIn(frame: Uint8Array | undefined) {
  const order = decodeGatewayMessage(frame ?? new Uint8Array());
  const body = order?.t === 'order' ? decodeOrderBody(order.body) : null;
  if (body?.kind !== 'membership') throw new Error('no membership');
  return body;
}

test('a group is made below another and read back with its path', async () => {
  await groupNamed('emea');
  const made = await http.call('POST', '/v1/groups', {
    body: { id: 'berlin', name: 'Berlin', parentId: 'emea' },
  });
  assert.is(made.status, 201);
  assert.is(made.headers.get('location'), '/v1/groups/berlin');
  assert.is(made.body.path, 'all/emea/berlin/');
  const read = await http.call('GET', '/v1/groups/berlin', { as: 'viewer' });
  assert.equal(read.body, made.body);
  const below = await http.call('GET', '/v1/groups?parent=emea');
  assert.equal(below.body.items, [made.body]);
  const found = await http.call('GET', '/v1/groups?text=BERL');
  assert.equal(found.body.items, [made.body]);
});

test('a group without an id gets one', async () => {
  const { body } = await http.call('POST', '/v1/groups', { body: { name: 'Somewhere' } });
  assert.match(body.id, /^g[a-z0-9]{15}$/);
  assert.is(body.parentId, 'all');
});

test('groups come in pages that neither repeat nor leave out', async () => {
  for (let i = 0; i < 5; i++) await groupNamed(`page-${i}`);
  const seen: string[] = [];
  let cursor = '';
  do {
    const { body } = await http.call('GET', `/v1/groups?text=page-&limit=2${cursor}`);
    seen.push(...body.items.map((group: { id: string }) => group.id));
    cursor = body.next === null ? '' : `&cursor=${encodeURIComponent(body.next)}`;
  } while (cursor !== '');
  assert.equal(seen, ['page-0', 'page-1', 'page-2', 'page-3', 'page-4']);
});

test('a group id is taken once, and its parent must exist', async () => {
  await groupNamed('taken');
  assert.is((await http.call('POST', '/v1/groups', { body: { id: 'taken', name: 'x' } })).status, 409);
  const orphan = await http.call('POST', '/v1/groups', { body: { name: 'x', parentId: 'nowhere' } });
  assert.is(orphan.status, 422);
  assert.is(orphan.body.code, 'unknown-reference');
});

test('a group is renamed and moved in one request', async () => {
  await groupNamed('mover');
  await groupNamed('target');
  const { status, body } = await http.call('PATCH', '/v1/groups/mover', {
    body: { name: 'Moved', parentId: 'target' },
  });
  assert.is(status, 200);
  assert.is(body.name, 'Moved');
  assert.is(body.path, 'all/target/mover/');
  assert.is((await events('group.moved')).length, 1);
});

test('a group cannot be moved into itself, and the root neither moved nor deleted', async () => {
  await groupNamed('outer');
  await groupNamed('inner', 'outer');
  assert.is((await http.call('PATCH', '/v1/groups/outer', { body: { parentId: 'inner' } })).status, 409);
  assert.is((await http.call('PATCH', '/v1/groups/all', { body: { parentId: 'inner' } })).status, 409);
  assert.is((await http.call('DELETE', '/v1/groups/all')).status, 409);
});

test('only an empty group is deleted', async () => {
  await groupNamed('full');
  await groupNamed('child', 'full');
  const refused = await http.call('DELETE', '/v1/groups/full');
  assert.is(refused.status, 409);
  assert.is(refused.body.code, 'not-empty');
  assert.is((await http.call('DELETE', '/v1/groups/child')).status, 204);
  assert.is((await http.call('DELETE', '/v1/groups/full')).status, 204);
  assert.is((await http.call('GET', '/v1/groups/full')).status, 404);
  assert.is((await http.call('DELETE', '/v1/groups/full')).status, 404);
  assert.is((await http.call('PATCH', '/v1/groups/full', { body: { name: 'x' } })).status, 404);
});

test('devices are found by group with its subgroups, by state and by text', async () => {
  await groupNamed('north');
  await groupNamed('oslo', 'north');
  const id = await http.enrol('oslo', { name: 'Till Nine' });
  for (const query of ['group=north', 'group=oslo&state=disconnected', 'text=till%20n', `text=${id}`]) {
    const { body } = await http.call('GET', `/v1/devices?${query}`, { as: 'viewer' });
    assert.equal(
      body.items.map((device: { id: string }) => device.id),
      [id],
      query,
    );
  }
  for (const query of ['group=north&state=connected', 'group=nowhere', 'gateway=gw1']) {
    assert.equal((await http.call('GET', `/v1/devices?${query}`)).body.items, [], query);
  }
  assert.is((await http.call('GET', '/v1/groups/oslo')).body.devices, 1);
});

test('a device is renamed and moved, and its new membership has a larger revision', async () => {
  await groupNamed('from');
  await groupNamed('to');
  const id = await http.enrol('from');
  const { status, body } = await http.call('PATCH', `/v1/devices/${id}`, {
    body: { name: 'New', groupId: 'to' },
  });
  assert.is(status, 200);
  assert.is(body.name, 'New');
  assert.is(body.groupId, 'to');
  const [entry] = await http.bus.directory.devices([id]);
  assert.equal(entry?.groups, ['all', 'to']);
  const frame = decodeGatewayMessage(entry?.membership as Uint8Array);
  const order = frame?.t === 'order' ? decodeOrderBody(frame.body) : null;
  assert.equal(order?.kind === 'membership' && [order.epoch, order.revision], entry?.membershipEdition);
  assert.ok((entry?.membershipEdition[1] ?? 0) > 1);
  assert.is((await http.call('PATCH', `/v1/devices/${id}`, { body: { groupId: 'nowhere' } })).status, 422);
  const isMember = membershipCheck(() => [http.signer.publicKey], createSignatureCheck());
  assert.ok(entry && isMember(entry), 'a gateway believes the entry');
  assert.not.ok(isMember({ ...entry, groups: ['all'] }));
});

test('moving a group renews the membership of every device below it', async () => {
  await groupNamed('region');
  await groupNamed('city', 'region');
  await groupNamed('other');
  const id = await http.enrol('city');
  await http.call('PATCH', '/v1/groups/region', { body: { parentId: 'other' } });
  await http.services.groups.stop();
  const [entry] = await http.bus.directory.devices([id]);
  assert.equal(entry?.groups, ['all', 'other', 'region', 'city']);
});

async function connect(device: string) {
  const load = {
    connections: 1,
    limit: 10,
    revision: 1,
    admissionRate: 0,
    bufferedBytes: 0,
    memoryBytes: 0,
    cpu: 0,
  };
  const identity = {
    worker: 'g/0',
    gateway: 'g',
    host: 'h',
    pid: 1,
    version: '0',
    initial: INITIAL_SETTINGS,
  };
  const incarnation = await http.bus.leases.acquire(identity, load, 60_000);
  const [claim] = await http.bus.presence.claim(incarnation, [{ device }]);
  const connected = {
    incarnation,
    worker: 'g/0',
    gateway: 'g',
    address: '127.0.0.1',
    software: 's',
    caps: [],
  };
  await http.store.devices.applySessions([
    { device, session: claim?.session ?? 0, connected, at: Date.now() },
  ]);
  const closes = async () =>
    (await http.bus.outboxes.read(incarnation, null, 100)).entries.flatMap(({ delivery }) =>
      delivery.close ? [delivery.close.code] : [],
    );
  return { closes };
}

test('S-8: a blocked device is signed as blocked and sent away; unblocking undoes it', async () => {
  const id = await http.enrol();
  const { closes } = await connect(id);
  assert.is((await http.call('GET', `/v1/devices/${id}`)).body.state, 'connected');
  const { body } = await http.call('PATCH', `/v1/devices/${id}`, { body: { blocked: true } });
  assert.is(body.state, 'blocked');
  assert.is((await http.bus.directory.devices([id]))[0]?.state, 'blocked');
  const [blocked] = await http.bus.directory.devices([id]);
  assert.is(membershipIn(blocked?.membership).state, 'blocked');
  assert.equal(await closes(), [CLOSE.blocked]);
  const undone = await http.call('PATCH', `/v1/devices/${id}`, { body: { blocked: false } });
  assert.is(undone.body.blockedAt, null);
  assert.is((await http.bus.directory.devices([id]))[0]?.state, 'active');
});

test('S-8: the directory keeps a signed deletion, and open executions are canceled', async () => {
  const id = await http.enrol();
  const { closes } = await connect(id);
  const command = await http.call('POST', '/v1/commands', {
    body: { type: 'sync', target: { devices: [id] } },
  });
  assert.is((await http.call('DELETE', `/v1/devices/${id}`)).status, 204);
  assert.is((await http.call('GET', `/v1/devices/${id}`)).status, 404);
  assert.is((await http.call('DELETE', `/v1/devices/${id}`)).status, 404);
  const [entry] = await http.bus.directory.devices([id]);
  assert.equal([entry?.state, membershipIn(entry?.membership).state], ['deleted', 'deleted']);
  assert.equal(await closes(), [CLOSE.unknownDevice]);
  const after = await http.call('GET', `/v1/commands/${command.body.id}`);
  assert.is(after.body.counts.canceled, 1);
  assert.ok(after.body.finishedAt);
  const executions = await http.call('GET', `/v1/devices/${id}/executions`);
  assert.is(executions.body.items[0].reason, 'device deleted');
});

test('S-8: a device moved to another installation is told so, signed, and is gone here', async () => {
  const id = await http.enrol();
  const { closes } = await connect(id);
  await http.call('POST', '/v1/commands', { body: { type: 'sync', target: { devices: [id] } } });
  const body = { url: 'https://push.example.org/eu', fingerprint: `${'B'.repeat(42)}A` };
  const move = (to: object) => http.call('POST', `/v1/devices/${id}/move-to`, { body: to });
  assert.is((await move({ ...body, url: 'push.example.org' })).status, 400);
  assert.is((await move({ ...body, fingerprint: 'short' })).status, 400);
  assert.is((await move(body)).status, 204);
  assert.is((await http.call('GET', `/v1/devices/${id}`)).status, 404);
  assert.is((await move(body)).status, 404);
  const [entry] = await http.bus.directory.devices([id]);
  const { state, to } = membershipIn(entry?.membership);
  assert.equal([entry?.state, state], ['deleted', 'moved']);
  assert.is(to?.url, body.url);
  assert.is(Buffer.from(to?.fingerprint ?? []).toString('base64url'), body.fingerprint);
  assert.equal(await closes(), [CLOSE.unknownDevice]);
  const executions = await http.call('GET', `/v1/devices/${id}/executions`);
  assert.is(executions.body.items[0].reason, 'device moved to another installation');
  const { items } = (await http.call('GET', '/v1/audit?limit=1000')).body;
  const entryOf = items.find((item: { action: string }) => item.action === 'device.moved-to');
  assert.equal([entryOf.subject, entryOf.detail.url], [id, body.url]);
});

test('every change is audited with who made it', async () => {
  const id = await http.enrol();
  await http.call('PATCH', `/v1/devices/${id}`, { body: { blocked: true } });
  const { body } = await http.call('GET', '/v1/audit?limit=1000');
  const entry = body.items.find(
    (item: { action: string; subject: string }) => item.action === 'device.blocked' && item.subject === id,
  );
  const tokens = (await http.call('GET', '/v1/tokens')).body.items;
  const admin = tokens.find((token: { role: string }) => token.role === 'admin');
  assert.is(entry.actor, admin.id);
});

test('a change that is refused leaves no trace', async () => {
  const id = await http.enrol();
  const before = (await http.store.events.bounds()).last;
  const refused = await http.call('PATCH', `/v1/devices/${id}`, { body: { name: 'X', groupId: 'nowhere' } });
  assert.is(refused.status, 422);
  assert.not.equal((await http.call('GET', `/v1/devices/${id}`)).body.name, 'X');
  assert.is((await http.store.events.bounds()).last, before);
});

test.run();
