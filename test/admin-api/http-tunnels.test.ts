import { createHash } from 'node:crypto';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DeviceSecrets } from '../../admin-api/device-secrets.ts';
import type { TunnelReceipt } from '../../admin-api/tunnels/tunnel-reports.ts';
import type { Delivery, WorkerLoad } from '../../bus/bus.ts';
import { nodeCrypto } from '../../device/index.ts';
import type { CommandOrder, Order } from '../../protocol/index.ts';
import {
  decodeGatewayMessage,
  decodeOrderBody,
  sealedTunnelBytes,
  WRAP_KEY_BYTES,
} from '../../protocol/index.ts';
import { waitFor } from '../wait.ts';
import { type Http, startHttp } from './http-harness.ts';
import { INITIAL_SETTINGS } from './initial-settings.ts';

let http: Http;
let gw1: string;
let gw2: string;
test.before(async () => {
  http = await startHttp();
  http.dispatcher.start();
  gw1 = await startGateway('gw1', { connections: 5 });
  gw2 = await startGateway('gw2', { connections: 900 });
});
test.after.each(async () => {
  const { items } = (await http.call('GET', '/v1/tunnels?state=live')).body;
  for (const { id } of items) await http.call('POST', `/v1/tunnels/${id}/close`);
});
test.after(() => http.stop());

async function startGateway(name: string, load: Partial<WorkerLoad> = {}): Promise<string> {
  await http.call('POST', '/v1/gateways', { body: { name, address: `ws://${name}.example.net:13295` } });
  const identity = {
    worker: `${name}/3`,
    gateway: name,
    host: 'h',
    pid: 4,
    version: '1',
    initial: INITIAL_SETTINGS,
  };
  const whole = {
    ...{ connections: 0, limit: 1000, revision: 1, admissionRate: 0, bufferedBytes: 0, memoryBytes: 0 },
    ...{ cpu: 0, port: 13_295, tunnels: { open: 0, limit: 100 } },
    ...load,
  };
  const incarnation = await http.bus.leases.acquire(identity, whole, 600_000);
  await waitFor(async () => {
    const gateway = (await http.call('GET', `/v1/gateways/${name}`)).body;
    return gateway.workers.length === 1;
  });
  return incarnation;
}

/** A device that a worker holds. */
async function connected(incarnation = gw1): Promise<string> {
  const device = await http.enrol();
  await http.bus.presence.claim(incarnation, [{ device }]);
  return device;
}

const open = (body: object, as: string = 'operator') => http.call('POST', '/v1/tunnels', { body, as });
const read = async (id: string) => (await http.call('GET', `/v1/tunnels/${id}`, { as: 'viewer' })).body;

async function deliveries(incarnation: string): Promise<Delivery[]> {
  const { entries } = await http.bus.outboxes.read(incarnation, null, 10_000);
  return entries.map((entry) => entry.delivery);
}

async function grantOf(incarnation: string, id: string) {
  return (await deliveries(incarnation)).find(({ tunnel }) => tunnel?.id === id)?.tunnel;
}

async function endTold(incarnation: string, id: string): Promise<string | undefined> {
  const told = (await deliveries(incarnation)).filter(({ tunnelEnd }) => tunnelEnd?.id === id);
  return told.at(-1)?.tunnelEnd?.reason;
}

/** The last command of a type that was sent to the device. */
async function orderTo(incarnation: string, device: string, type: string): Promise<CommandOrder> {
  const find = async () => {
    for (const { devices, frame } of (await deliveries(incarnation)).reverse()) {
      if (!devices.includes(device) || !frame) continue;
      const message = decodeGatewayMessage(frame);
      const body = message?.t === 'order' ? decodeOrderBody((message as Order).body) : undefined;
      if (body?.kind === 'command' && body.type === type) return body;
    }
    return undefined;
  };
  return waitFor(find, { what: `${type} to ${device}` });
}

/** The tunnel's key as the device reads it from the command's arguments. */
async function keyFor(device: string, order: CommandOrder): Promise<string> {
  const { tunnel, key } = order.args as { tunnel: string; key: string };
  const secret = (await DeviceSecrets.load(http.store.meta)).of(device, 1);
  const wrapKey = await nodeCrypto.mac(secret, WRAP_KEY_BYTES);
  const bytes = Buffer.from(key, 'base64url');
  const about = sealedTunnelBytes(device, tunnel);
  const opened = await nodeCrypto.decrypt(wrapKey, bytes.subarray(0, 12), about, bytes.subarray(12));
  return Buffer.from(opened).toString('base64url');
}

function said(
  tunnel: string,
  event: TunnelReceipt['event'],
  more: Partial<TunnelReceipt> = {},
): TunnelReceipt {
  const bytes = { bytesUp: 0, bytesDown: 0, streams: 0 };
  return { kind: 'tunnel', tunnel, device: 'd', event, ...bytes, incarnation: gw1, at: 1, ...more };
}

async function join(id: string, incarnation = gw1): Promise<void> {
  await http.tunnelsSaid([
    said(id, 'joined', { side: 'operator', incarnation }),
    said(id, 'joined', { side: 'device', incarnation }),
  ]);
}

async function audit(action: string, subject: string) {
  const { items } = (await http.call('GET', '/v1/audit?limit=1000')).body;
  return items.filter((entry: { action: string; subject: string }) => {
    return entry.action === action && entry.subject === subject;
  });
}

const refusals = async (device: string) =>
  (await audit('tunnel.refused', device)).map(({ detail }: { detail: unknown }) => detail);
const hash = (ticket: string) => createHash('sha256').update(ticket).digest('hex');
const hex = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString('hex');

test('the gateway with the fewest tunnels gets the next one, and sees ticket hashes only', async () => {
  const device = await connected(gw2);
  const { status, headers, body } = await open({ deviceId: device, port: 22, reason: 'why not' });
  assert.is(status, 201);
  assert.is(headers.get('location'), `/v1/tunnels/${body.tunnel.id}`);
  assert.equal(
    [body.tunnel.state, body.tunnel.host, body.tunnel.reason],
    ['opening', '127.0.0.1', 'why not'],
  );
  assert.equal(body.join.gateway, { name: 'gw1', url: 'ws://gw1.example.net:13295' });
  assert.is(body.join.worker, 3);
  const grant = await grantOf(gw1, body.tunnel.id);
  const order = await orderTo(gw2, device, 'tunnel.open');
  const args = order.args as { ticket: string; gateway: object; port: number; worker: number };
  assert.is(hex(grant?.operatorHash), hash(body.join.ticket));
  assert.is(hex(grant?.deviceHash), hash(args.ticket));
  assert.is.not(args.ticket, body.join.ticket);
  assert.equal([args.gateway, args.port, args.worker], [body.join.gateway, 22, 3]);
  assert.ok(order.expiresAt - order.issuedAt <= 60_000);
  const next = (await open({ deviceId: await connected(), port: 22 })).body;
  assert.is(next.tunnel.gateway, 'gw2');
});

test('no answer of the API shows a ticket again', async () => {
  const device = await connected();
  const { body } = await open({ deviceId: device, port: 22 });
  const order = await orderTo(gw1, device, 'tunnel.open');
  const { ticket, key } = order.args as { ticket: string; key: string };
  const answers = await Promise.all(
    [
      '/v1/commands',
      `/v1/commands/${order.id}`,
      '/v1/tunnels',
      `/v1/tunnels/${body.tunnel.id}`,
      '/v1/audit',
    ].map((path) => http.call('GET', path)),
  );
  const events = JSON.stringify(await http.store.events.after(0, 10_000));
  const text = JSON.stringify(answers.map((answer) => answer.body)) + events + http.logged.join('');
  for (const secret of [ticket, key, body.join.ticket, body.join.key]) assert.not.ok(text.includes(secret));
  const { args } = (await http.call('GET', `/v1/commands/${order.id}`)).body;
  assert.equal([args.ticket, args.key], ['[hidden]', '[hidden]']);
});

test('T-15: operator and device get one key; neither the gateway nor the database has it', async () => {
  const device = await connected();
  const { body } = await open({ deviceId: device, port: 22 });
  assert.match(body.join.key, /^[A-Za-z0-9_-]{43}$/);
  const order = await orderTo(gw1, device, 'tunnel.open');
  assert.is(await keyFor(device, order), body.join.key);
  const key = Buffer.from(body.join.key, 'base64url');
  for (const delivery of await deliveries(gw1)) {
    const bytes = Buffer.concat([Buffer.from(delivery.frame ?? []), Buffer.from(JSON.stringify(delivery))]);
    assert.not.ok(bytes.includes(key) || bytes.includes(body.join.key));
  }
  const stored = (await http.store.commands.get(order.id))?.args as { key: string };
  assert.is(stored.key, (order.args as { key: string }).key);
  const other = (await open({ deviceId: await connected(), port: 22 })).body.join.key;
  assert.is.not(other, body.join.key);
});

test('T-14, T-15: a tunnel that never opened moves with a new key, an open one with none', async () => {
  const device = await connected();
  const { tunnel, join: first } = (await open({ deviceId: device, port: 22 })).body;
  await orderTo(gw1, device, 'tunnel.open');
  const move = () => http.call('POST', `/v1/tunnels/${tunnel.id}/move`, { as: 'operator' });
  const second = (await move()).body.join;
  assert.is.not(second.key, first.key);
  const order = await waitFor(async () => {
    const found = await orderTo(gw1, device, 'tunnel.open');
    return (await keyFor(device, found)) === second.key && found;
  });
  assert.is((order.args as { resume?: boolean }).resume, undefined);
  await join(tunnel.id, gw2);
  assert.is((await move()).body.join.key, null);
  const resumed = await waitFor(async () => {
    const { args } = await orderTo(gw1, device, 'tunnel.open');
    return (args as { resume?: boolean }).resume === true && args;
  });
  assert.is((resumed as { key?: string }).key, undefined);
});

test('an operator cannot send the commands of tunnels', async () => {
  const device = await connected();
  for (const type of ['tunnel.open', 'tunnel.close']) {
    const body = { type, args: { tunnel: 'u1' }, target: { devices: [device] } };
    assert.is((await http.call('POST', '/v1/commands', { body })).status, 400);
  }
});

test('viewers open no tunnels, operators to the device only; refusals are audited', async () => {
  const device = await connected();
  const tries: [string, object, number][] = [
    ['viewer', { port: 22 }, 403],
    ['operator', { port: 3389 }, 403],
    ['operator', { port: 80, host: '10.0.0.7' }, 403],
    ['operator', { port: 80, host: '127.0.0.1.example.net' }, 403],
    ['operator', { port: 80, host: '0.0.0.0' }, 403],
    ['operator', { port: 80, host: '127.0.0.256' }, 403],
    ['operator', { port: 80, host: '127.1' }, 403],
    ['operator', { port: 80, host: 'LOCALHOST' }, 201],
    ['admin', { port: 3389 }, 201],
  ];
  for (const [as, body, status] of tries) {
    assert.is((await open({ deviceId: device, ...body }, as)).status, status, JSON.stringify(body));
  }
  const denied = await refusals(device);
  assert.is(denied.length, 7);
  assert.ok(denied.every(({ why }: { why: string }) => why === 'forbidden'));
  assert.equal([denied[6].role, denied[6].port, denied[6].why], ['viewer', '22', 'forbidden']);
  const { items } = (await http.call('GET', `/v1/tunnels?device=${device}&state=live`)).body;
  assert.is(items.length, 2);
  for (const { id } of items) {
    assert.is((await http.call('POST', `/v1/tunnels/${id}/close`, { as: 'viewer' })).status, 403);
    assert.is((await http.call('POST', `/v1/tunnels/${id}/close`, { as: 'operator' })).body.state, 'ended');
  }
});

test('invalid hosts, invalid ports and unknown devices are refused', async () => {
  const deviceId = await connected();
  for (const body of [
    { deviceId, port: 0 },
    { deviceId, port: 70_000 },
    { deviceId, port: 22, host: 'a b' },
    { deviceId, port: 22, host: '-oProxyCommand=x' },
    { deviceId, port: 22, reason: '\u001b[2J' },
    { deviceId, port: 22, timeLimit: 0 },
    { deviceId, port: 22, role: 'admin' },
    { deviceId },
  ]) {
    assert.is((await open(body)).status, 400, JSON.stringify(body));
  }
  assert.is((await open({ deviceId: 'nobody', port: 22 })).status, 422);
});

test('devices and operators have a limit of tunnels; the attempt above it is audited', async () => {
  const [one, two] = [await connected(), await connected()];
  const made = [];
  for (const deviceId of [one, one, two]) made.push((await open({ deviceId, port: 22 })).body.tunnel.id);
  assert.is((await open({ deviceId: two, port: 22 })).status, 429);
  assert.is((await open({ deviceId: one, port: 22 }, 'admin')).status, 429);
  assert.is((await refusals(one))[0].why, 'too-many-requests');
  for (const id of made) await http.call('POST', `/v1/tunnels/${id}/close`);
  const again = (await open({ deviceId: two, port: 22 })).body;
  assert.is(again.tunnel.state, 'opening');
});

test('a device that is away or blocked gives a tunnel that has ended, with the reason', async () => {
  const away = await http.enrol();
  const { status, body } = await open({ deviceId: away, port: 22 });
  assert.equal(
    [status, body.join, body.tunnel.state, body.tunnel.end.code],
    [201, null, 'ended', 'device-offline'],
  );
  const blocked = await connected();
  await http.call('PATCH', `/v1/devices/${blocked}`, { body: { blocked: true } });
  assert.is((await open({ deviceId: blocked, port: 22 })).body.tunnel.end.code, 'device-blocked');
});

test('a tunnel opens when both ends are there, and its figures are added up', async () => {
  const device = await connected();
  const { id } = (await open({ deviceId: device, port: 22 })).body.tunnel;
  await join(id, gw1);
  assert.equal([(await read(id)).state, (await read(id)).deviceHere], ['open', true]);
  await http.tunnelsSaid([
    said(id, 'counters', { bytesUp: 10, bytesDown: 20, streams: 1 }),
    said(id, 'counters', { bytesUp: 1000, bytesDown: 50, streams: 2 }),
    said(id, 'left', { side: 'operator', bytesUp: 1000, bytesDown: 50, streams: 2 }),
  ]);
  const tunnel = await read(id);
  assert.equal([tunnel.bytesUp, tunnel.bytesDown, tunnel.streams, tunnel.operatorHere], [1000, 50, 2, false]);
  await http.tunnelsSaid([said(id, 'ended', { reason: 'operator-left', bytesUp: 1001, bytesDown: 50 })]);
  const ended = await read(id);
  assert.equal([ended.state, ended.end.code, ended.bytesUp], ['ended', 'operator-left', 1001]);
  const [entry] = await audit('tunnel.ended', id);
  assert.equal([entry.detail.code, entry.detail.bytesUp, entry.detail.port], ['operator-left', 1001, 22]);
  const types = (await http.store.events.after(0, 10_000))
    .filter(({ data }) => (data as { id?: string }).id === id)
    .map(({ type }) => type);
  assert.equal(types, ['tunnel.created', 'tunnel.opened', 'tunnel.ended']);
});

test('a device that refuses ends the tunnel with its reason, and the gateway is told', async () => {
  const device = await connected();
  const { id } = (await open({ deviceId: device, port: 22 })).body.tunnel;
  const order = await orderTo(gw1, device, 'tunnel.open');
  await http.store.executions.finish(
    [{ command: order.id, device }],
    ['queued', 'sent'],
    'rejected',
    'port 22 is not allowed here',
    Date.now(),
  );
  await waitFor(async () => (await read(id)).state === 'ended');
  assert.equal((await read(id)).end, {
    code: 'refused',
    reason: 'The device refused it: port 22 is not allowed here',
  });
  await waitFor(async () => (await endTold(gw1, id))?.includes('not allowed here'));
});

test('closed by an operator, both ends are told; closed again it stays as it is', async () => {
  const { id } = (await open({ deviceId: await connected(), port: 22 })).body.tunnel;
  await join(id, gw1);
  const closed = (await http.call('POST', `/v1/tunnels/${id}/close`, { as: 'admin' })).body;
  assert.equal([closed.state, closed.end.code, closed.operatorHere], ['ended', 'closed', false]);
  assert.is(await endTold(gw1, id), 'An operator closed it.');
  await http.tunnelsSaid([said(id, 'ended', { reason: 'An operator closed it.', bytesUp: 7 })]);
  const again = (await http.call('POST', `/v1/tunnels/${id}/close`)).body;
  assert.equal([again.end, again.endedAt, again.bytesUp], [closed.end, closed.endedAt, 7]);
  assert.is((await audit('tunnel.ended', id)).length, 1);
  assert.is((await http.call('POST', '/v1/tunnels/none/close')).status, 404);
});

test('T-14: a forgery found at the end of the operator is stored, whatever the gateway says', async () => {
  const { id } = (await open({ deviceId: await connected(), port: 22 })).body.tunnel;
  await join(id, gw1);
  assert.is((await http.call('POST', `/v1/tunnels/${id}/close?code=other`)).status, 400);
  const { body } = await http.call('POST', `/v1/tunnels/${id}/close?code=forged`, { as: 'operator' });
  assert.is(body.end.code, 'forged');
  assert.match(body.end.reason, /through gateway gw1\.$/);
  await http.tunnelsSaid([said(id, 'ended', { reason: 'operator-left' })]);
  assert.is((await read(id)).end.code, 'forged');
  assert.match((await endTold(gw1, id)) ?? '', /made up on the way/);
  const [entry] = await audit('tunnel.ended', id);
  assert.is(entry.detail.code, 'forged');
});

test('an operator moves its own tunnel; the old gateway hears of it once both ends moved', async () => {
  const device = await connected();
  const { id } = (await open({ deviceId: device, port: 22 })).body.tunnel;
  await join(id, gw1);
  await http.tunnelsSaid([said(id, 'counters', { bytesUp: 5, bytesDown: 6 })]);
  const move = (as: string) => http.call('POST', `/v1/tunnels/${id}/move`, { as });
  assert.is((await move('admin')).status, 403);
  const { status, body } = await move('operator');
  assert.equal([status, body.join.gateway.name, body.tunnel.moves], [200, 'gw2', 1]);
  assert.is(hex((await grantOf(gw2, id))?.operatorHash), hash(body.join.ticket));
  await waitFor(async () => {
    const args = (await orderTo(gw1, device, 'tunnel.open')).args as Record<string, unknown>;
    return args.resume === true && (args.gateway as { name: string }).name === 'gw2';
  });
  await http.tunnelsSaid([said(id, 'joined', { side: 'device', incarnation: gw2 })]);
  assert.is(await endTold(gw1, id), undefined);
  await http.tunnelsSaid([
    said(id, 'ended', { reason: 'operator-left', bytesUp: 5, bytesDown: 7 }),
    said(id, 'joined', { side: 'operator', incarnation: gw2 }),
    said(id, 'counters', { bytesUp: 100, incarnation: gw2 }),
  ]);
  const tunnel = await read(id);
  assert.equal([tunnel.state, tunnel.gateway, tunnel.bytesUp, tunnel.bytesDown], ['open', 'gw2', 105, 7]);
  assert.is(await endTold(gw1, id), 'moved');
  await http.call('POST', `/v1/tunnels/${id}/close`);
  assert.is((await move('operator')).status, 410);
});

for (const state of ['open', 'opening'] as const) {
  test(`a tunnel that is ${state} and moves waits for a device that is between gateways itself`, async () => {
    const device = await connected();
    const { id } = (await open({ deviceId: device, port: 22 })).body.tunnel;
    await orderTo(gw1, device, 'tunnel.open');
    if (state === 'open') await join(id, gw1);
    const { presence } = http.bus;
    const { locate } = presence;
    // It leaves between the look at where it is and the command to it.
    presence.locate = async (devices) => {
      const holders = await locate.call(presence, devices);
      if (!devices.includes(device)) return holders;
      presence.locate = locate;
      const session = holders[devices.indexOf(device)]?.session ?? 0;
      await presence.release(gw1, [{ device, session }]);
      return holders;
    };
    assert.is((await http.call('POST', `/v1/tunnels/${id}/move`, { as: 'operator' })).status, 200);
    const skipped = { type: 'statistics', target: { devices: [device] }, offline: 'skip' };
    const { body: after } = await http.call('POST', '/v1/commands', { body: skipped });
    await waitFor(
      async () => (await http.call('GET', `/v1/commands/${after.id}`)).body.counts.canceled === 1,
    );
    assert.is((await read(id)).state, state);
    await presence.claim(gw2, [{ device }]);
    http.dispatcher.wake([device]);
    const { args } = await orderTo(gw2, device, 'tunnel.open');
    assert.is((args as { resume?: boolean }).resume, state === 'open' ? true : undefined);
  });
}

test('when the worker is gone the tunnel ends, and the device hears of it another way', async () => {
  const doomed = await startGateway('gw3');
  const filler = await http.enrol();
  assert.is((await open({ deviceId: filler, port: 1 })).body.tunnel.state, 'ended');
  const device = await connected(gw2);
  await http.call('PATCH', '/v1/gateways/gw1', { body: { runPushServer: false } });
  const { id, gateway } = (await open({ deviceId: device, port: 22 })).body.tunnel;
  assert.is(gateway, 'gw3');
  await join(id, doomed);
  await http.bus.leases.release(doomed);
  await waitFor(async () => (await read(id)).state === 'ended');
  assert.is((await read(id)).end.code, 'gateway-lost');
  const order = await orderTo(gw2, device, 'tunnel.close');
  assert.is((order.args as { tunnel: string }).tunnel, id);
  await http.call('PATCH', '/v1/gateways/gw1', { body: { runPushServer: true } });
});

test('without a gateway that takes tunnels there is none, and the record says so', async () => {
  const names = ['gw1', 'gw2'];
  for (const name of names) await http.call('POST', `/v1/gateways/${name}/drain`);
  const { body } = await open({ deviceId: await connected(), port: 22 });
  assert.equal([body.join, body.tunnel.end.code, body.tunnel.gateway], [null, 'no-gateway', null]);
  for (const name of names) await http.call('DELETE', `/v1/gateways/${name}/drain`);
});

test('a tunnel ends with the token it was opened with, with its device, and with its time', async () => {
  const made = await http.tokens.create({ name: 'guest', role: 'operator' }, 'test');
  const byGuest = (await open({ deviceId: await connected(), port: 22 }, made.token)).body.tunnel.id;
  await http.tokens.revoke(made.id, 'test');
  await waitFor(async () => (await read(byGuest)).end?.code === 'operator-revoked');
  const device = await connected();
  const toDevice = (await open({ deviceId: device, port: 22 })).body.tunnel.id;
  await http.call('PATCH', `/v1/devices/${device}`, { body: { blocked: true } });
  await waitFor(async () => (await read(toDevice)).end?.code === 'device-blocked');
  const brief = (await open({ deviceId: await connected(), port: 22, timeLimit: 1 })).body.tunnel;
  assert.is(Date.parse(brief.expiresAt) - Date.parse(brief.createdAt), 1000);
  http.clock.offsetMs += 20_000;
  await waitFor(async () => (await read(brief.id)).end?.code === 'life');
});

test('joins that were refused are counted and audited with where they came from', async () => {
  const { id } = (await open({ deviceId: await connected(), port: 22 })).body.tunnel;
  const refused = { side: 'operator' as const, reason: 'bad-ticket', address: '192.0.2.9' };
  await http.tunnelsSaid([said(id, 'refused', refused)]);
  assert.is((await read(id)).refusedJoins, 1);
  const [entry] = await audit('tunnel.join-refused', id);
  assert.equal([entry.detail.why, entry.detail.address], ['bad-ticket', '192.0.2.9']);
});

test.run();
