import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { ServerView } from '../../cli/api/views.ts';
import { IdentityFiles } from '../../gateway/joining/identity-files.ts';
import { type JoinBy, Joiner } from '../../gateway/joining/joiner.ts';
import { parseFingerprint, parseToken } from '../../protocol/index.ts';
import { waitFor } from '../wait.ts';
import { type Http, startHttp } from './http-harness.ts';

let http: Http;
const folder = mkdtempSync(join(tmpdir(), 'http-joins-'));
test.before(async () => {
  http = await startHttp();
  http.joinAnswers.start();
});
test.after(async () => {
  await http.joinAnswers.stop();
  await http.stop();
  rmSync(folder, { recursive: true, force: true });
});

function joinAs(gateway: string, by: JoinBy) {
  const files = new IdentityFiles(mkdtempSync(join(folder, `${gateway}-`)));
  return new Joiner({ bus: http.bus, log: pino({ level: 'silent' }), files, gateway }).join(by);
}

async function newToken(gateway: string) {
  const { status, body } = await http.call('POST', '/v1/join-tokens', { body: { gateway } });
  assert.is(status, 201);
  const token = parseToken('ppg1', body.token);
  if (!token) throw new Error('no join token');
  return { token, id: body.id as string };
}

async function eventsOf(type: string): Promise<unknown[]> {
  const events = await http.store.events.after(0, 1_000);
  return events.filter((event) => event.type === type).map(({ data }) => data);
}

test('a join token is made, listed without its secret, used and revoked', async () => {
  const { token, id } = await newToken('gw1');
  const listed = async () => (await http.call('GET', '/v1/join-tokens')).body.items[0];
  assert.equal(
    [(await listed()).id, (await listed()).gateway, (await listed()).usedAt, (await listed()).token],
    [id, 'gw1', null, undefined],
  );
  const identity = await joinAs('gw1', { token });
  assert.ok((await listed()).usedAt);
  assert.equal(await eventsOf('gateway.joined'), [{ name: 'gw1' }]);
  const { body } = await http.call('GET', '/v1/gateways/gw1/certificates', { as: 'viewer' });
  assert.equal(
    body.items.map(({ serial, authority, revokedAt }: Record<string, unknown>) => [
      serial,
      authority,
      revokedAt,
    ]),
    [[identity.serial, 1, null]],
  );
  assert.is(new X509Certificate(identity.certificate).subject, 'CN=gw1');
  assert.is((await http.call('DELETE', `/v1/join-tokens/${id}`)).status, 204);
  assert.ok((await listed()).revokedAt);
  assert.is((await http.call('DELETE', '/v1/join-tokens/j0')).status, 404);
});

test('only admins let gateways and servers in', async () => {
  for (const as of ['viewer', 'operator'] as const) {
    const body = { gateway: 'gw1' };
    assert.is((await http.call('POST', '/v1/join-tokens', { as, body })).status, 403);
    assert.is((await http.call('GET', '/v1/join-tokens', { as })).status, 403);
    assert.is((await http.call('GET', '/v1/join-requests', { as })).status, 403);
    assert.is((await http.call('POST', `/v1/join-requests/${'0'.repeat(64)}/approve`, { as })).status, 403);
    assert.is((await http.call('POST', '/v1/gateways/gw1/revoke', { as })).status, 403);
    const server = { server: 'admin2' };
    assert.is((await http.call('POST', '/v1/server-join-tokens', { as, body: server })).status, 403);
    assert.is((await http.call('GET', '/v1/server-join-tokens', { as })).status, 403);
    assert.is((await http.call('GET', '/v1/server-join-requests', { as })).status, 403);
    const request = `/v1/server-join-requests/${'0'.repeat(64)}/approve`;
    assert.is((await http.call('POST', request, { as })).status, 403);
    assert.is((await http.call('POST', '/v1/servers/admin2/revoke', { as })).status, 403);
  }
});

test('a gateway that waits is listed with its fingerprint and approved', async () => {
  const { installation } = (await http.call('GET', '/v1/join-requests')).body;
  const fingerprint = parseFingerprint(installation);
  if (!fingerprint) throw new Error('no fingerprint');
  const joining = joinAs('gw2', { fingerprint });
  let waiting: { id: string; fingerprint: string; gateway: string; ours: boolean }[] = [];
  await waitFor(async () => {
    waiting = (await http.call('GET', '/v1/join-requests')).body.items;
    return waiting.length > 0;
  });
  const [request] = waiting;
  assert.equal([request?.gateway, request?.ours], ['gw2', true]);
  assert.is(request?.fingerprint.replaceAll('-', ''), request?.id.slice(0, 32));
  const approved = await http.call('POST', `/v1/join-requests/${request?.id}/approve`);
  assert.equal([approved.status, approved.body.gateway], [200, 'gw2']);
  assert.ok((await joining).serial);
  assert.is((await http.call('POST', `/v1/join-requests/${request?.id}/approve`)).status, 404);
});

test('a server joins with a token, or is listed and approved, and is revoked', async () => {
  const made = await http.call('POST', '/v1/server-join-tokens', { body: { server: 'admin2' } });
  assert.equal([made.status, made.body.server], [201, 'admin2']);
  const token = parseToken('pps1', made.body.token);
  if (!token) throw new Error('no join token');
  const identity = await joinAs('server:admin2', { token });
  const { body: tokens } = await http.call('GET', '/v1/server-join-tokens');
  assert.equal(
    tokens.items.map(({ id, server }: Record<string, string>) => [id, server]),
    [[made.body.id, 'admin2']],
  );
  assert.ok(tokens.items[0].usedAt);
  const ofGateways = (await http.call('GET', '/v1/join-tokens')).body.items;
  assert.not.ok(ofGateways.some(({ id }: { id: string }) => id === made.body.id));
  const { installation } = (await http.call('GET', '/v1/server-join-requests')).body;
  const joining = joinAs('server:admin3', { fingerprint: parseFingerprint(installation) as Uint8Array });
  let waiting: { id: string; server: string; ours: boolean }[] = [];
  await waitFor(async () => {
    waiting = (await http.call('GET', '/v1/server-join-requests')).body.items;
    return waiting.length > 0;
  });
  const [request] = waiting;
  assert.equal([request?.server, request?.ours], ['admin3', true]);
  assert.equal((await http.call('GET', '/v1/join-requests')).body.items, []);
  assert.is((await http.call('POST', `/v1/join-requests/${request?.id}/approve`)).status, 404);
  const approved = await http.call('POST', `/v1/server-join-requests/${request?.id}/approve`);
  assert.equal([approved.status, approved.body.server], [200, 'admin3']);
  const { serial } = await joining;
  const { body: servers } = await http.call('GET', '/v1/servers', { as: 'viewer' });
  assert.equal(
    servers.items.map(({ name, running, certificate }: ServerView) => [name, running, certificate.serial]),
    [
      ['admin2', false, identity.serial],
      ['admin3', false, serial],
    ],
  );
  assert.equal(await eventsOf('server.joined'), [{ name: 'admin2' }, { name: 'admin3' }]);
  const revoked = await http.call('POST', '/v1/servers/admin2/revoke');
  assert.equal([revoked.status, revoked.body], [200, { server: 'admin2', serials: [identity.serial] }]);
  assert.equal(await eventsOf('server.revoked'), [{ name: 'admin2' }]);
  const after = (await http.call('GET', '/v1/servers')).body.items[0] as ServerView;
  assert.ok(after.certificate.revokedAt);
  assert.equal((await http.call('POST', '/v1/servers/admin2/revoke')).body.serials, []);
  assert.is((await http.call('POST', '/v1/servers/gw1/revoke')).status, 404, 'a gateway is no server');
  assert.is((await http.call('DELETE', `/v1/join-tokens/${made.body.id}`)).status, 204);
});

test('a revoked gateway loses its leases, its pass and its weight, until it joins again', async () => {
  const { token } = await newToken('gw3');
  const identity = await joinAs('gw3', { token });
  const initial = {
    group: 'all',
    runPushServer: true,
    port: 1,
    address: 'ws://127.0.0.1:1',
    connectionLimit: 9,
  };
  await http.call('POST', '/v1/gateways', { body: { name: 'gw3', address: 'ws://127.0.0.1:1' } });
  const worker = { worker: 'gw3/0', gateway: 'gw3', host: 'host-1', pid: 4, version: '1.0.0', initial };
  const load = {
    ...{ connections: 0, limit: 9, revision: 1, admissionRate: 0, bufferedBytes: 0, memoryBytes: 1, cpu: 0 },
    port: 1,
  };
  const incarnation = await http.bus.leases.acquire(worker, load, 60_000);
  const entry = async () => (await http.bus.directory.gateways()).find(({ name }) => name === 'gw3');
  await waitFor(async () => ((await entry())?.weight ?? 0) > 0 && (await entry())?.pass !== undefined);
  const { status, body } = await http.call('POST', '/v1/gateways/gw3/revoke');
  assert.equal([status, body], [200, { gateway: 'gw3', serials: [identity.serial] }]);
  await waitFor(async () => (await entry())?.draining === true);
  assert.equal([(await entry())?.weight, (await entry())?.pass], [0, undefined]);
  assert.is(await http.bus.leases.extend(incarnation, load, 60_000), 'lost');
  assert.is(await http.bus.outboxes.append(incarnation, [{ devices: ['d1'] }]), 'gone');
  // A lease that it takes all the same is ended as well.
  const again = await http.bus.leases.acquire(worker, load, 60_000);
  await waitFor(async () => (await http.bus.leases.extend(again, load, 60_000)) === 'lost');
  const view = await http.call('GET', '/v1/gateways/gw3', { as: 'viewer' });
  assert.match(view.body.problem, /were revoked: it must join again/);
  assert.equal(await eventsOf('gateway.revoked'), [{ name: 'gw3' }]);
  assert.equal((await http.call('POST', '/v1/gateways/gw3/revoke')).body.serials, []);
  assert.is((await http.call('POST', '/v1/gateways/gw9/revoke')).status, 404);
  await joinAs('gw3', { token: (await newToken('gw3')).token });
  const returned = await http.bus.leases.acquire(worker, load, 60_000);
  await waitFor(async () => ((await entry())?.weight ?? 0) > 0 && (await entry())?.pass !== undefined);
  assert.is(await http.bus.leases.extend(returned, load, 60_000), 'held');
});

test('a rotation of the authority goes through its phases and back', async () => {
  const call = async (step: string) => (await http.call('POST', `/v1/authority/${step}`)).body;
  const states = (body: { authorities: { number: number; state: string }[] }) =>
    body.authorities.map(({ number, state }) => [number, state]);
  const { body, status } = await http.call('GET', '/v1/authority', { as: 'viewer' });
  assert.equal([status, body.phase, states(body)], [200, 'steady', [[1, 'current']]]);
  assert.match(body.authorities[0].fingerprint, /^([0-9A-F]{2}:){31}[0-9A-F]{2}$/);
  for (const step of ['rotate', 'advance', 'rollback']) {
    assert.is((await http.call('POST', `/v1/authority/${step}`, { as: 'operator' })).status, 403);
  }
  assert.is((await http.call('POST', '/v1/authority/advance')).status, 409);
  assert.equal(states(await call('rotate')), [
    [1, 'current'],
    [2, 'next'],
  ]);
  assert.equal(states(await call('advance')), [
    [1, 'old'],
    [2, 'current'],
  ]);
  assert.equal(states(await call('rollback')), [
    [1, 'current'],
    [2, 'next'],
  ]);
  assert.equal(states(await call('advance')), [
    [1, 'old'],
    [2, 'current'],
  ]);
  assert.equal(states(await call('advance')), [[2, 'current']]);
  assert.equal(await eventsOf('authority.rotate'), [{ phase: 'introduced' }]);
  const identity = await joinAs('gw5', { token: (await newToken('gw5')).token });
  assert.is(identity.trusts, '2');
});

test.run();
