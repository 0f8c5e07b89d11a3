/** An administration server asks to join, and another one answers: both real, over one bus. */
import { createPrivateKey, randomBytes, sign, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { storeKey } from '../../admin-api/at-rest/key-file.ts';
import { KeyBox } from '../../admin-api/at-rest/secret-box.ts';
import { JoinAnswers } from '../../admin-api/pki/join-answers.ts';
import { RunningServer } from '../../admin-api/pki/running-servers.ts';
import { AuthorityService } from '../../admin-api/services/authority-service.ts';
import { JoinService } from '../../admin-api/services/join-service.ts';
import {
  decodeJoinRequest,
  decodeSignedRequest,
  encodeJoinRequest,
  encodeSignedRequest,
  joinBytes,
  joinId,
} from '../../bus/join-messages.ts';
import { serverSubject } from '../../bus/subjects.ts';
import type { Joined } from '../../gateway/joining/identity.ts';
import { IdentityFiles } from '../../gateway/joining/identity-files.ts';
import { joinByApproval, joinByToken, renew } from '../../gateway/joining/join-request.ts';
import { Joiner, JoinRefused } from '../../gateway/joining/joiner.ts';
import { nodeHpke } from '../../protocol/hpke-node.ts';
import { parseToken, pkcs8, type TokenParts } from '../../protocol/index.ts';
import { type Composed, composed } from '../admin-api/composed.ts';
import { rejects } from '../admin-api/store-fixtures.ts';
import { waitFor } from '../wait.ts';

const log = pino({ level: 'silent' });
const KEY = randomBytes(32);
const SERVER = serverSubject('admin2');
const lookMs = 10;

interface Context {
  admin: Composed;
  service: JoinService;
  folder: string;
  files: IdentityFiles;
  keys: Uint8Array[];
  joiner: Joiner;
  clock: { now: number };
}

const test = suite<Context>('joining of administration servers');

test.before.each(async (context) => {
  context.clock = { now: Date.now() };
  const now = () => context.clock.now;
  const admin = await composed({ now, busNow: now, secretBox: new KeyBox(KEY) });
  context.admin = { ...admin, joinAnswers: new JoinAnswers({ ...admin, lookMs }) };
  context.service = new JoinService(context.admin);
  context.folder = mkdtempSync(join(tmpdir(), 'server-joining-'));
  context.files = new IdentityFiles(context.folder);
  context.keys = [];
  const keepKey = (key: Uint8Array) => context.keys.push(key);
  const { bus } = admin;
  context.joiner = new Joiner({ bus, log, files: context.files, gateway: SERVER, keepKey, lookMs });
  context.admin.joinAnswers.start();
});
test.after.each(async ({ admin, folder, joiner }) => {
  joiner.stop();
  await admin.joinAnswers.stop();
  await admin.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function token({ service }: Context, server = 'admin2'): Promise<{ token: TokenParts }> {
  const { token: text } = await service.createServerToken({ server }, 'tester');
  assert.is(parseToken('ppg1', text), null, 'it is no token of a gateway');
  const parsed = parseToken('pps1', text);
  if (!parsed) throw new Error('no join token');
  return { token: parsed };
}

async function gatewayToken({ service }: Context, gateway: string): Promise<TokenParts> {
  const { token: text } = await service.createToken({ gateway }, 'tester');
  const parsed = parseToken('ppg1', text);
  if (!parsed) throw new Error('no join token');
  return parsed;
}

async function certificatesOf({ admin }: Context, subject = SERVER) {
  return admin.store.gatewayCertificates.ofGateway(subject);
}

test('a token brings a server its certificate, and the key of the secrets apart from it', async (context) => {
  const { joiner, files, keys, admin } = context;
  const identity = await joiner.join(await token(context));
  assert.equal(
    keys.map((key) => Buffer.from(key)),
    [KEY],
  );
  const written = readFileSync(files.identityFile, 'utf8');
  assert.not.match(written, KEY.toString('base64'));
  assert.not.match(written, 'secretsKey');
  const certificate = new X509Certificate(identity.certificate);
  assert.is(certificate.subject, 'CN=admin2');
  assert.match(certificate.subjectAltName ?? '', 'URI:urn:pushpoint:server:admin2');
  const { items } = await admin.store.audit.list({ limit: 2 });
  assert.equal(
    items.map(({ action, subject }) => [action, subject]),
    [
      ['server.joined', 'admin2'],
      ['join-token.created', (await admin.store.joinTokens.list({ limit: 1 }, 'servers')).items[0]?.id],
    ],
  );
  assert.equal(items[1]?.detail, { server: 'admin2', expiresAt: context.clock.now + 3_600_000 });
});

test('a token is for one request: nobody has the answer to it sealed to another key', async (context) => {
  const { joiner, admin } = context;
  const { token: own } = await token(context);
  const pending = await joinByToken(SERVER, own, context.clock.now);
  const first = (await joiner.outcomeOf(pending)) as Joined;
  assert.equal(Buffer.from(first.secretsKey ?? []), KEY);
  const { publicKey: sealTo } = await nodeHpke.generateX25519();
  const body = encodeJoinRequest({ ...decodeJoinRequest(decodeSignedRequest(pending.request).body), sealTo });
  const der = Buffer.from(pkcs8('Ed25519', own.seed));
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  const proof = new Uint8Array(sign(null, joinBytes(body), key));
  const request = encodeSignedRequest({ body, proof });
  const outcome = await joiner.outcomeOf({ ...pending, id: joinId(body), body, request });
  assert.match('refused' in outcome ? outcome.refused : '', /The join token was used/);
  // The server itself may ask again, as the answer may have been lost.
  await admin.bus.joins.answer(pending.id, new Uint8Array(1));
  const again = (await joiner.outcomeOf(pending)) as Joined;
  assert.equal([again.serial, Buffer.from(again.secretsKey ?? [])], [first.serial, KEY]);
});

test('neither tokens nor certificates of gateways make a server, nor a server a gateway', async (context) => {
  const { joiner, admin, clock, keys } = context;
  const isRefused = (pattern: RegExp) => (error: Error) => {
    assert.instance(error, JoinRefused, String(error));
    assert.match(error.message, pattern);
  };
  const other = new IdentityFiles(mkdtempSync(join(context.folder, 'gateway-')));
  const gateway = new Joiner({ bus: admin.bus, log, files: other, gateway: 'admin2', lookMs });
  const ofGateway = await gatewayToken(context, 'admin2');
  await rejects(joiner.join({ token: ofGateway }), isRefused(/is for gateway admin2, not for server admin2/));
  await rejects(
    gateway.join(await token(context)),
    isRefused(/is for server admin2, not for gateway admin2/),
  );
  const identity = await gateway.join({ token: ofGateway });
  const outcome = await joiner.outcomeOf(await renew({ ...identity, gateway: SERVER }, clock.now));
  assert.match('refused' in outcome ? outcome.refused : '', /is of gateway admin2, not of server admin2/);
  assert.equal([await certificatesOf(context), keys], [[], []]);
  // A server of the same name is another program, and ends nothing of the gateway.
  const server = await joiner.join(await token(context));
  assert.is((await certificatesOf(context, 'admin2'))[0]?.revokedAt, null);
  // Whoever has the certificate of a server says nothing as a gateway.
  assert.ok((await admin.gatewayKeys.goodUntil('admin2', identity.serial)) > clock.now);
  assert.is(await admin.gatewayKeys.goodUntil(SERVER, server.serial), 0);
});

test('an operator lets a server in knowingly, after comparing its fingerprint', async (context) => {
  const { joiner, service, keys } = context;
  const joining = joiner.join({ fingerprint: service.fingerprint });
  await waitFor(async () => (await service.requests('servers')).length === 1, { what: 'the request' });
  assert.equal(await service.requests(), []);
  const [waiting] = await service.requests('servers');
  const { id = '' } = waiting ?? {};
  assert.is(waiting?.name, 'admin2');
  await rejects(service.approve(id, 'tester'), (error) => assert.match(error.message, /No gateway waits/));
  const stranger = await joinByApproval(SERVER, new Uint8Array(32), context.clock.now);
  await context.admin.bus.joins.ask(stranger.id, stranger.request);
  await rejects(service.approve(stranger.id, 'tester', 'servers'), (error) =>
    assert.match(error.message, /server admin2 asks an installation with another fingerprint/),
  );
  assert.equal(keys, []);
  await service.approve(id, 'tester', 'servers');
  await joining;
  assert.equal(Buffer.from(keys[0] ?? []), KEY);
});

test('a renewal brings no key, and a revoked server renews nothing', async (context) => {
  const { joiner, service, clock } = context;
  const identity = await joiner.join(await token(context));
  clock.now += 1_000;
  const renewed = await joiner.outcomeOf(await renew(identity, clock.now));
  if ('refused' in renewed) throw new Error(renewed.refused);
  assert.is.not(renewed.serial, identity.serial);
  assert.is(renewed.secretsKey, undefined);
  const open = await token(context);
  const { length } = await service.revokeServer('admin2', 'tester');
  assert.is(length, 2);
  assert.equal(await joiner.outcomeOf(await renew(renewed, clock.now)), {
    refused: 'The certificate of server admin2 was revoked: join again with a token or approval.',
    over: true,
  });
  await rejects(joiner.join(open), (error) => assert.match(error.message, /The join token was revoked/));
  await rejects(service.revokeServer('admin9', 'tester'), (error) =>
    assert.match(error.message, /Server admin9 has no certificate/),
  );
});

test('a rotation of the authority waits for servers that run', async (context) => {
  const { admin, joiner, clock, service } = context;
  const authorities = new AuthorityService(admin);
  const identity = await joiner.join(await token(context));
  const running = new RunningServer(admin.store.meta, () => clock.now);
  await running.say({ name: 'admin2', serial: identity.serial });
  assert.equal(
    (await service.servers()).map(({ name, running: runs }) => [name, runs]),
    [['admin2', true]],
  );
  clock.now += 1_000;
  assert.equal((await authorities.rotate('tester')).waitingFor, ['server admin2']);
  await rejects(authorities.advance('tester'), (error) =>
    assert.match(error.message, /have not applied the last step: server admin2/),
  );
  const renewed = (await joiner.outcomeOf(await renew(identity, clock.now))) as Joined;
  assert.is(renewed.trusts, '1,2');
  await running.say({ name: 'admin2', serial: renewed.serial });
  clock.now += 1_000;
  assert.equal((await authorities.advance('tester')).waitingFor, ['server admin2']);
  // One that has not been heard of for minutes, or has left, holds nothing up.
  clock.now += 300_000;
  assert.equal((await authorities.show()).waitingFor, []);
  await running.say({ name: 'admin2', serial: renewed.serial });
  assert.equal((await authorities.show()).waitingFor, ['server admin2']);
  // Nor does one whose name another machine took over; when it ends, the other one still runs.
  const other = new IdentityFiles(mkdtempSync(join(context.folder, 'other-')));
  const next = new Joiner({ bus: admin.bus, log, files: other, gateway: SERVER, lookMs });
  const taken = await next.join(await token(context));
  const newcomer = new RunningServer(admin.store.meta, () => clock.now);
  await newcomer.say({ name: 'admin2', serial: taken.serial });
  assert.equal((await authorities.show()).waitingFor, []);
  await running.leave();
  assert.is((await service.servers())[0]?.running, true);
  await newcomer.leave();
  assert.is((await service.servers())[0]?.running, false);
});

test('an installation that encrypts nothing has no key to hand on', async (context) => {
  const { joiner, keys } = context;
  await context.admin.joinAnswers.stop();
  const plain = await composed({});
  const joinAnswers = new JoinAnswers({ ...plain, lookMs });
  joinAnswers.start();
  const service = new JoinService({ ...plain, joinAnswers });
  const { token: text } = await service.createServerToken({ server: 'admin2' }, 'tester');
  const by = parseToken('pps1', text);
  if (!by) throw new Error('no join token');
  const files = new IdentityFiles(mkdtempSync(join(context.folder, 'plain-')));
  const keepKey = (key: Uint8Array) => keys.push(key);
  const own = new Joiner({ bus: plain.bus, log, files, gateway: SERVER, keepKey, lookMs });
  assert.ok((await own.join({ token: by })).serial);
  assert.equal(keys, []);
  await joinAnswers.stop();
  await plain.stop();
  joiner.stop();
});

test('a server killed before its key was stored asks again, and gets the same', async (context) => {
  const { admin, files, folder } = context;
  const by = await token(context);
  const failing = () => {
    throw new Error('no room');
  };
  const first = new Joiner({ bus: admin.bus, log, files, gateway: SERVER, keepKey: failing, lookMs });
  await rejects(first.join(by), (error) => assert.match(error.message, /no room/));
  assert.is(files.read(), null);
  const file = join(folder, 'secrets.key');
  const keepKey = (key: Uint8Array) => storeKey(file, key);
  const second = new Joiner({ bus: admin.bus, log, files, gateway: SERVER, keepKey, lookMs });
  const { serial } = await second.join(by);
  assert.equal(
    (await certificatesOf(context)).map((each) => each.serial),
    [serial],
  );
  assert.is(readFileSync(file, 'utf8').trim(), KEY.toString('base64'));
  assert.is(statSync(file).mode & 0o777, 0o600);
});

test('a key that is there already is not overwritten', ({ folder }) => {
  const file = join(folder, 'secrets.key');
  storeKey(file, KEY);
  storeKey(file, KEY);
  writeFileSync(file, randomBytes(32).toString('base64'));
  const before = readFileSync(file, 'utf8');
  assert.throws(() => storeKey(file, KEY), /holds another key than this installation uses/);
  assert.is(readFileSync(file, 'utf8'), before);
  assert.throws(() => storeKey(join(folder, 'none', 'x'), KEY), /cannot be written \(ENOENT\)/);
});

test.run();
