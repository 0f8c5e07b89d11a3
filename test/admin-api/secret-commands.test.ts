/** Secret commands at the parts of a whole server: what leaves it, what it stores, and who gets a key. */
import { createDecipheriv, createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from '@photostructure/sqlite';
import pino from 'pino';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { encrypt } from '../../admin-api/at-rest/aes-gcm.ts';
import { composeHttp } from '../../admin-api/compose-http.ts';
import type { HttpServices } from '../../admin-api/http/services.ts';
import type { Receipt } from '../../bus/bus.ts';
import {
  type CommandOrder,
  decodeArgs,
  decodeGatewayMessage,
  decodeOrderBody,
  type Encrypted,
  encodeResultBody,
  encodeSealedBody,
  type GatewayMessage,
  type GroupKeyName,
  type Key,
  LIMITS,
  type ResultBody,
  sealedArgsBytes,
  sealedKeyBytes,
  sealedResultBytes,
} from '../../protocol/index.ts';
import { identity, LONG_MS, load } from '../bus/samples.ts';
import { resultMac, resultReceipt } from '../results.ts';
import { type Composed, composed } from './composed.ts';
import { addDevice, T0 } from './store-fixtures.ts';

const PASSWORD = 'correct-horse-battery-staple';
const ANSWER = 'tr0ub4dor-and-three';
const ARGS = { topic: 'credentials', body: { password: PASSWORD } };
const MEMBERS = ['m1', 'm2'];

interface Server extends Composed {
  services: HttpServices;
  incarnation: string;
  logged: string[];
  /** What devices are sent, each once, in order. */
  sent(): Promise<(GatewayMessage & { devices: string[] })[]>;
}

/** `m1` and `m2` are in `shops`, below `all`; `x1` is in `offices`. All are connected to one worker. */
async function withServer(body: (server: Server) => Promise<void>): Promise<void> {
  const logged: string[] = [];
  const parts = await composed({
    log: pino({ level: 'trace' }, { write: (line) => void logged.push(line) }),
  });
  const { store, bus, leases, dispatcher, hub } = parts;
  for (const id of ['shops', 'offices']) {
    await store.groups.create({ id, parentId: 'all', name: id, createdAt: T0 });
  }
  for (const id of MEMBERS) await addDevice(store, id, 'shops');
  await addDevice(store, 'x1', 'offices');
  const incarnation = await bus.leases.acquire(identity, load, LONG_MS);
  await bus.presence.claim(
    incarnation,
    [...MEMBERS, 'x1'].map((device) => ({ device })),
  );
  await leases.start(() => {});
  await leases.refresh();
  await hub.start();
  dispatcher.start();
  let position: Parameters<typeof bus.outboxes.read>[1] = null;
  const sent = async () => {
    const read = await bus.outboxes.read(incarnation, position, 1_000);
    position = read.position;
    return read.entries.flatMap(({ delivery }) => {
      const message = delivery.frame && decodeGatewayMessage(delivery.frame);
      return message ? [{ ...message, devices: delivery.devices }] : [];
    });
  };
  try {
    await body({ ...parts, services: composeHttp(parts), incarnation, logged, sent });
  } finally {
    await parts.ingest.stop();
    await parts.expander.stop();
    await dispatcher.stop();
    await hub.stop();
    await leases.stop();
    await parts.stop();
  }
}

function open(key: Uint8Array, { nonce, ct }: Encrypted, about: Uint8Array): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', key, nonce).setAAD(about);
  decipher.setAuthTag(ct.subarray(-LIMITS.sealTagBytes));
  return Buffer.concat([decipher.update(ct.subarray(0, -LIMITS.sealTagBytes)), decipher.final()]);
}

async function commandOf(server: Server, id: string): Promise<CommandOrder & { devices: string[] }> {
  for (let tries = 0; tries < 200; tries++) {
    for (const message of await server.sent()) {
      const order = message.t === 'order' && decodeOrderBody(message.body);
      if (order && order.kind === 'command' && order.id === id) return { ...order, devices: message.devices };
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`command ${id} was not sent`);
}

async function give(
  { services }: Server,
  target: { devices: string[] } | { group: string },
  more: { args?: unknown; idempotencyKey?: string } = {},
) {
  const request = { type: 'message', args: ARGS, target, secret: true, ...more } as const;
  return (await services.commands.create(request, 'token-1')).command;
}

async function toShops(server: Server): Promise<{ order: CommandOrder; key: GroupKeyName }> {
  const { id } = await give(server, { group: 'shops' });
  const order = await commandOf(server, id);
  const key = order.sealed?.key;
  if (!key) throw new Error('no key is named');
  return { order, key };
}

const want = (device: string, key: GroupKeyName): Receipt => ({
  kind: 'want',
  device,
  ...key,
  at: Date.now(),
});

/** What these questions brought, and to whom. */
async function answers(server: Server, ...wants: Receipt[]) {
  await server.ingest.apply(wants);
  // What follows a batch is done before the next one is followed up.
  await server.ingest.apply([]);
  await server.ingest.stop();
  return server.sent();
}

/** The keys among it. */
async function ask(server: Server, ...wants: Receipt[]): Promise<(Key & { devices: string[] })[]> {
  return (await answers(server, ...wants)).flatMap((message) => (message.t === 'key' ? [message] : []));
}

function sealedReceipt(
  { secrets }: Server,
  device: string,
  command: string,
  end: ResultBody,
  authenticatedBy = 1,
): Receipt {
  const about = sealedResultBytes(device, command);
  const body = encodeSealedBody(encrypt(secrets.secretKey(device, 1), encodeResultBody(end), about));
  const mac = resultMac({ id: device, secret: secrets.of(device, authenticatedBy) }, command, body);
  return { kind: 'result', device, command, body, mac, worker: identity.worker, at: Date.now() };
}

/** Every file of the database, its log included. */
function databaseBytes({ dataDir }: Server): Buffer {
  const files = readdirSync(dataDir).filter((name) => name.startsWith('pushpoint.db'));
  return Buffer.concat(files.map((name) => readFileSync(path.join(dataDir, name))));
}

test('X-3: a secret command to a device is sealed with that key alone, of its present generation', () =>
  withServer(async (server) => {
    const { secrets, dataDir } = server;
    const file = new DatabaseSync(path.join(dataDir, 'pushpoint.db'));
    file.exec(`update devices set generation = 2, offered = 2 where id = 'm2'`);
    file.close();
    for (const [device, generation] of [
      ['m1', 1],
      ['m2', 2],
    ] as const) {
      const { id } = await give(server, { devices: [device] });
      const { args, sealed, devices } = await commandOf(server, id);
      assert.equal([args, devices, sealed?.key], [null, [device], undefined]);
      const about = sealedArgsBytes(id, { device });
      const key = secrets.secretKey(device, generation);
      assert.equal(decodeArgs(open(key, sealed as Encrypted, about)), ARGS);
      assert.throws(() => open(secrets.secretKey(device, 3 - generation), sealed as Encrypted, about));
    }
  }));

test('X-3, X-5, X-6: a group gets one order, and each member the key that opens it', () =>
  withServer(async (server) => {
    const { secrets } = server;
    const { order, key } = await toShops(server);
    const answers = await ask(server, ...MEMBERS.map((device) => want(device, key)));
    assert.equal(
      answers.map(({ devices }) => devices),
      [['m1'], ['m2']],
    );
    for (const answer of answers) {
      const [device = ''] = answer.devices;
      const raw = open(secrets.wrapKey(device, 1), answer, sealedKeyBytes(device, key));
      const plain = open(raw, order.sealed as Encrypted, sealedArgsBytes(order.id, key));
      assert.equal(decodeArgs(plain), ARGS);
    }
  }));

test('X-5: only active members of the group get its key, and only of keys there are', () =>
  withServer(async (server) => {
    const { store, registry } = server;
    const { key } = await toShops(server);
    const others = [want('x1', key), want('nobody', key), want('m1', { ...key, number: key.number + 1 })];
    others.push(want('m1', { ...key, epoch: key.epoch + 1 }), want('m1', { ...key, group: 'offices' }));
    assert.equal(await ask(server, ...others), []);
    await store.devices.setBlocked('m1', Date.now());
    assert.equal(await ask(server, want('m1', key)), []);
    await store.devices.setBlocked('m1', null);
    assert.is((await ask(server, want('m1', key), want('m1', key))).length, 1, 'once for each batch');
    const counted = (await registry.metrics()).match(/group_keys_wanted_total\{answer="refused"\} (\d+)/);
    assert.is(counted?.[1], '6');
  }));

test('X-4: a device that was moved out or blocked never gets the next key, and who stays does', () =>
  withServer(async (server) => {
    const { store, services } = server;
    const { key: first } = await toShops(server);
    assert.equal((await toShops(server)).key, first, 'as long as nobody leaves');
    await services.devices.change('m1', { groupId: 'offices' }, 'token-1');
    const { key: second } = await toShops(server);
    assert.equal(second, { ...first, number: first.number + 1 });
    assert.equal(await ask(server, want('m1', second)), []);
    assert.is((await ask(server, want('m2', second))).length, 1);
    // The old one still opens what was sent with it.
    assert.is((await ask(server, want('m2', first))).length, 1);
    await services.devices.change('m2', { blocked: true }, 'token-1');
    assert.equal(await ask(server, want('m2', second)), []);
    assert.is((await store.groupKeys.current('shops', first.epoch, T0, () => '')).number, second.number + 1);
  }));

test('X-7: a device that left the group after its ack is sent the command for it alone, and no key', () =>
  withServer(async (server) => {
    const { store, services, ingest } = server;
    const { key, order } = await toShops(server);
    const { id } = order;
    await ingest.apply([{ kind: 'ack', device: 'm1', command: id, at: Date.now() }]);
    await services.devices.change('m1', { groupId: 'offices' }, 'token-1');
    await server.sent();
    const [again, ...more] = await answers(server, want('m1', key), want('x1', key));
    assert.equal(more, []);
    assert.is(again?.t, 'order');
    const body = decodeOrderBody(again?.t === 'order' ? again.body : new Uint8Array()) as CommandOrder;
    assert.equal([body.id, body.target, body.sealed?.key], [id, { device: 'm1' }, undefined]);
    const own = server.secrets.secretKey('m1', 1);
    const plain = open(own, body.sealed as Encrypted, sealedArgsBytes(id, { device: 'm1' }));
    assert.equal(decodeArgs(plain), ARGS);
    // Of what is over, and to who is blocked, nothing is sent.
    await store.devices.setBlocked('m1', Date.now());
    assert.equal(await answers(server, want('m1', key)), []);
    await store.devices.setBlocked('m1', null);
    await ingest.apply([sealedReceipt(server, 'm1', id, { state: 'succeeded' })]);
    await answers(server);
    assert.equal(await answers(server, want('m1', key)), []);
  }));

test('K-6, X-8: what a device sealed before it got its next secret is read', () =>
  withServer(async (server) => {
    const { store, services, ingest } = server;
    const { order } = await toShops(server);
    const { id } = order;
    await store.devices.offerSecret('m1', 1);
    const end = { state: 'succeeded', data: { token: ANSWER } } as const;
    await ingest.apply([sealedReceipt(server, 'm1', id, end, 2)]);
    const revealed = await services.secretResults.reveal({ command: id, device: 'm1' }, 'token-1');
    assert.equal(revealed.data, { token: ANSWER });
    assert.equal((await store.devices.generations(['m1'])).get('m1'), { generation: 2, offered: 2 });
  }));

test('X-5: a device that asks without end gets a bounded number of answers', () =>
  withServer(async (server) => {
    const { key } = await toShops(server);
    let answers = 0;
    for (let n = 0; n < 50; n++) answers += (await ask(server, want('m1', key))).length;
    assert.is(answers, 32);
    assert.is((await ask(server, want('m2', key))).length, 1, 'the others are served');
  }));

test('X-8: outcomes of secret commands are read by their devices’ server alone, one at a time', () =>
  withServer(async (server) => {
    const { store, ingest, services, logged } = server;
    const { order } = await toShops(server);
    const { id } = order;
    const data = { token: ANSWER };
    await ingest.apply([
      sealedReceipt(server, 'm1', id, { state: 'succeeded', data }),
      sealedReceipt(server, 'm2', id, { state: 'failed', reason: `no ${ANSWER}` }),
    ]);
    await ingest.stop();
    const page = await store.executions.list({ command: id }, { limit: 10 }, true);
    assert.equal(
      page.items.map(({ state, reason, data }) => [state, reason, data]),
      [
        ['succeeded', null, null],
        ['failed', null, null],
      ],
    );
    const [one, two] = [
      { command: id, device: 'm1' },
      { command: id, device: 'm2' },
    ];
    assert.equal((await services.secretResults.reveal(one, 'token-7')).data, data);
    assert.is((await services.secretResults.reveal(two, 'token-7')).reason, `no ${ANSWER}`);
    const audit = (await store.audit.list({ limit: 2 })).items;
    assert.equal(
      audit.map(({ actor, action, subject }) => [actor, action, subject]),
      [1, 2].map(() => ['token-7', 'execution.reveal', id]),
    );
    const told = JSON.stringify([
      await store.events.after(0, 1_000),
      (await store.audit.list({ limit: 100 })).items,
      await services.explain('m2', id),
      logged,
    ]);
    for (const secret of [PASSWORD, ANSWER]) {
      assert.not(told.includes(secret));
      assert.not(databaseBytes(server).includes(secret));
    }
  }));

test('X-8: an unsealed result of a secret command is still hidden; a needlessly sealed result is shown', () =>
  withServer(async (server) => {
    const { store, ingest, services, secrets } = server;
    const { id } = await give(server, { devices: ['m1', 'm2'] });
    const m1 = { id: 'm1', secret: secrets.of('m1', 1) };
    const m2 = { id: 'm2', secret: secrets.of('m2', 1) };
    await ingest.apply([
      resultReceipt(m1, id, Date.now(), { state: 'succeeded', data: { token: ANSWER } }),
      resultReceipt(m2, id, Date.now(), { state: 'rejected', reason: 'busy' }),
    ]);
    const { id: other } = await give(server, { devices: ['m1', 'm2'] });
    await ingest.apply([
      resultReceipt(m1, other, Date.now(), { state: 'failed', reason: `no such user: ${ANSWER}` }),
      { kind: 'progress', device: 'm2', command: other, percent: 5, note: ANSWER, at: Date.now() },
    ]);
    const failed = await store.executions.get({ command: other, device: 'm1' });
    assert.equal([failed?.state, failed?.reason], ['failed', null]);
    const running = await store.executions.get({ command: other, device: 'm2' });
    assert.equal([running?.percent, running?.note], [5, null]);
    const why = await services.secretResults.reveal({ command: other, device: 'm1' }, 'token-1');
    assert.is(why.reason, `no such user: ${ANSWER}`);
    assert.is((await store.executions.get({ command: id, device: 'm1' }))?.data, null);
    assert.is((await store.executions.get({ command: id, device: 'm2' }))?.reason, 'busy');
    assert.not(databaseBytes(server).includes(ANSWER));
    const revealed = await services.secretResults.reveal({ command: id, device: 'm1' }, 'token-1');
    assert.equal(revealed.data, { token: ANSWER });

    const target = { devices: ['m1'] };
    const { command } = await services.commands.create({ type: 'message', args: ARGS, target }, 'token-1');
    await ingest.apply([sealedReceipt(server, 'm1', command.id, { state: 'succeeded', data: 'open' })]);
    assert.is((await store.executions.get({ command: command.id, device: 'm1' }))?.data, 'open');
  }));

test('X-8: a result that does not open is put aside, and ends nothing', () =>
  withServer(async (server) => {
    const { store, ingest, secrets } = server;
    const { id } = await give(server, { devices: ['m1'] });
    const body = encodeSealedBody({ nonce: new Uint8Array(12), ct: new Uint8Array(40) });
    const mac = resultMac({ id: 'm1', secret: secrets.of('m1', 1) }, id, body);
    await ingest.apply([
      { kind: 'result', device: 'm1', command: id, body, mac, worker: identity.worker, at: Date.now() },
    ]);
    assert.ok(
      ['queued', 'sent'].includes((await store.executions.get({ command: id, device: 'm1' }))?.state ?? ''),
    );
    const good = sealedReceipt(server, 'm1', id, { state: 'succeeded' });
    await ingest.apply([good]);
    assert.is((await store.executions.get({ command: id, device: 'm1' }))?.state, 'succeeded');
  }));

test('an idempotency key works for secret commands, and its hash does not help to guess arguments', () =>
  withServer(async (server) => {
    const { services, dataDir } = server;
    const target = { devices: ['m1'] };
    const { id } = await give(server, target, { idempotencyKey: 'k1' });
    assert.is((await give(server, target, { idempotencyKey: 'k1' })).id, id);
    const other = { args: { ...ARGS, body: 1 }, idempotencyKey: 'k1' };
    const error = await give(server, target, other).catch((reason) => reason);
    assert.is(error.code, 'idempotency-conflict');
    const plain = { type: 'message', args: ARGS, target, idempotencyKey: 'k2' } as const;
    await services.commands.create(plain, 'token-1');
    const file = new DatabaseSync(path.join(dataDir, 'pushpoint.db'));
    const rows = file.prepare('select key, body_hash from idempotency order by key').all();
    file.close();
    assert.is(rows.length, 2);
    const guess = { args: ARGS, secret: true, target, type: 'message' };
    const hash = createHash('sha256').update(canonical(guess)).digest('hex');
    const [stored] = rows as { body_hash: Uint8Array }[];
    assert.is.not(Buffer.from(stored?.body_hash ?? []).toString('hex'), hash);
  }));

/** As the server writes a body before it hashes it. */
function canonical(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${fields.map(([key, field]) => `${JSON.stringify(key)}:${canonical(field)}`).join(',')}}`;
}

test.run();
