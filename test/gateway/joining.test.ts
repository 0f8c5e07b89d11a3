// time limit: 120 s
/** A gateway asks to join, and an administration server answers: both real, over one bus in this process. */
import { createPrivateKey, generateKeyPairSync, sign, verify, X509Certificate } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { JoinAnswers } from '../../admin-api/pki/join-answers.ts';
import { AuthorityService } from '../../admin-api/services/authority-service.ts';
import { JoinService } from '../../admin-api/services/join-service.ts';
import type { Store } from '../../admin-api/store/store.ts';
import type { Joins, Lease } from '../../bus/bus.ts';
import {
  decodeJoinRequest,
  decodeSignedAnswer,
  decodeSignedRequest,
  encodeJoinAnswer,
  encodeJoinRequest,
  encodeSignedAnswer,
  encodeSignedRequest,
  fingerprintText,
  joinBytes,
  joinedBytes,
  joinId,
} from '../../bus/join-messages.ts';
import type { GatewayIdentity } from '../../gateway/joining/identity.ts';
import { IdentityFiles } from '../../gateway/joining/identity-files.ts';
import { openJoinAnswer } from '../../gateway/joining/join-answer.ts';
import { joinByApproval, joinByToken, renew } from '../../gateway/joining/join-request.ts';
import { Joiner, JoinRefused } from '../../gateway/joining/joiner.ts';
import { Renewals } from '../../gateway/joining/renewals.ts';
import { Dependency } from '../../health/health.ts';
import { parseToken, pkcs8, type TokenParts, tokenText } from '../../protocol/index.ts';
import { type Composed, composed } from '../admin-api/composed.ts';
import { rejects } from '../admin-api/store-fixtures.ts';
import { waitFor } from '../wait.ts';

const log = pino({ level: 'silent' });
const DAY_MS = 86_400_000;
const lookMs = 10;

interface Context {
  admin: Composed;
  service: JoinService;
  folder: string;
  files: IdentityFiles;
  joiner: Joiner;
  clock: { now: number };
}

const test = suite<Context>('joining of gateways');

test.before.each(async (context) => {
  context.clock = { now: Date.now() };
  const now = () => context.clock.now;
  const admin = await composed({ now, busNow: now });
  context.admin = { ...admin, joinAnswers: new JoinAnswers({ ...admin, lookMs }) };
  context.service = new JoinService(context.admin);
  context.folder = mkdtempSync(join(tmpdir(), 'joining-'));
  context.files = new IdentityFiles(context.folder);
  context.joiner = new Joiner({ bus: context.admin.bus, log, files: context.files, gateway: 'gw1', lookMs });
  context.admin.joinAnswers.start();
});
test.after.each(async ({ admin, folder, joiner }) => {
  joiner.stop();
  await admin.joinAnswers.stop();
  await admin.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function token(context: Context, gateway = 'gw1'): Promise<{ token: TokenParts }> {
  const { token: text } = await context.service.createToken({ gateway }, 'tester');
  const parsed = parseToken('ppg1', text);
  if (!parsed) throw new Error('no join token');
  return { token: parsed };
}

function another(context: Context, gateway: string): { joiner: Joiner; files: IdentityFiles } {
  const files = new IdentityFiles(mkdtempSync(join(context.folder, 'other-')));
  return { joiner: new Joiner({ bus: context.admin.bus, log, files, gateway, lookMs }), files };
}

async function serials({ admin }: Context, gateway = 'gw1'): Promise<string[]> {
  const all = await admin.store.gatewayCertificates.ofGateway(gateway);
  return all.filter(({ revokedAt }) => revokedAt === null).map(({ serial }) => serial);
}

function refused(pattern: RegExp) {
  return (error: Error) => {
    assert.instance(error, JoinRefused, String(error));
    assert.match(error.message, pattern);
  };
}

test('a token brings a gateway its certificate and MAC key, in files for this user only', async (context) => {
  const { admin, joiner, files, folder, service } = context;
  const identity = await joiner.join(await token(context));
  assert.equal(await serials(context), [identity.serial]);
  assert.equal(Buffer.from(identity.macKey), admin.secrets.gatewayKey('gw1', identity.serial));
  assert.equal(Buffer.from(identity.fingerprint), Buffer.from(service.fingerprint));
  const certificate = new X509Certificate(identity.certificate);
  const authority = new X509Certificate(identity.authorities[0] ?? '');
  assert.ok(certificate.verify(authority.publicKey) && certificate.checkIssued(authority));
  const signed = sign('sha256', Buffer.from('x'), identity.privateKey);
  assert.ok(verify('sha256', Buffer.from('x'), certificate.publicKey, signed));
  assert.equal(readdirSync(folder).sort(), ['certificate.pem', 'identity.json']);
  for (const file of readdirSync(folder)) assert.is(statSync(join(folder, file)).mode & 0o777, 0o600, file);
  const { macKey, fingerprint } = identity;
  const plain = { macKey: new Uint8Array(macKey), fingerprint: new Uint8Array(fingerprint) };
  assert.equal(files.read(), { ...identity, ...plain });
  const { items } = await admin.store.audit.list({ limit: 10 });
  assert.equal(items.map(({ action, subject }) => [action, subject]).slice(0, 2), [
    ['gateway.joined', 'gw1'],
    ['join-token.created', (await admin.store.joinTokens.list({ limit: 1 }, 'gateways')).items[0]?.id],
  ]);
});

test('a token is for one key: the same gateway may ask again, and no other', async (context) => {
  const by = await token(context);
  const { joiner, files, admin } = context;
  const pending = await joinByToken('gw1', by.token, admin.bus.clock.now());
  files.keepPending(pending);
  const lost = await joiner.outcomeOf(pending);
  // It was killed before it kept the answer, and the bus has forgotten it.
  await admin.bus.joins.answer(pending.id, new Uint8Array(1));
  const identity = await joiner.join(by);
  assert.is(identity.serial, (lost as GatewayIdentity).serial);
  assert.equal(await serials(context), [identity.serial]);
  const thief = another(context, 'gw1');
  await rejects(thief.joiner.join(by), refused(/was used: ask an operator for a new one/));
  assert.is(thief.files.read(), null);
  assert.equal(await serials(context), [identity.serial]);
});

test('a request with a used token, played again, revives nothing and evicts nobody', async (context) => {
  const { joiner, admin, service } = context;
  const by = await token(context);
  const pending = await joinByToken('gw1', by.token, admin.bus.clock.now());
  assert.ok('serial' in (await joiner.outcomeOf(pending)));
  const playedAgain = async () => {
    // The bus has forgotten the answer.
    await admin.bus.joins.answer(pending.id, new Uint8Array(1));
    const outcome = await joiner.outcomeOf(pending);
    return 'refused' in outcome ? outcome.refused : '';
  };
  const open = await token(context);
  await service.revoke('gw1', 'tester');
  assert.match(await playedAgain(), /was used/);
  assert.equal(await serials(context), []);
  await rejects(another(context, 'gw1').joiner.join(open), refused(/was revoked/));
  const honest = await another(context, 'gw1').joiner.join(await token(context));
  assert.match(await playedAgain(), /was used/);
  assert.equal(await serials(context), [honest.serial]);
});

test('a token is for one name, and ends', async (context) => {
  const other = another(context, 'gw2');
  await rejects(other.joiner.join(await token(context)), refused(/is for gateway gw1, not for gateway gw2/));
  const late = await token(context);
  context.clock.now += DAY_MS;
  await rejects(context.joiner.join(late), refused(/has expired/));
  const revoked = await token(context);
  const { items } = await context.admin.store.joinTokens.list({ limit: 10 }, 'gateways');
  for (const { id } of items) await context.service.revokeToken(id, 'tester');
  await rejects(context.joiner.join(revoked), refused(/was revoked/));
  assert.equal([...(await serials(context)), ...(await serials(context, 'gw2'))], []);
});

test('a request whose certification request names another gateway is dropped', async (context) => {
  const { admin, joiner } = context;
  const by = await token(context);
  const own = await joinByToken('gw1', by.token, admin.bus.clock.now());
  const other = await joinByToken('gw2', by.token, admin.bus.clock.now());
  const mixed = encodeJoinRequest({ ...decodeJoinRequest(own.body), csr: decodeJoinRequest(other.body).csr });
  const der = Buffer.from(pkcs8('Ed25519', by.token.seed));
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  const proof = new Uint8Array(sign(null, joinBytes(mixed), key));
  await admin.bus.joins.ask(joinId(mixed), encodeSignedRequest({ body: mixed, proof }));
  await waitFor(async () => (await admin.bus.joins.waiting()).length === 0, { what: 'it to be dropped' });
  assert.is(await admin.bus.joins.answerTo(joinId(mixed)), null);
  assert.equal(await serials(context), []);
  assert.ok(await joiner.join(by));
});

test('an answer that the token did not sign is dropped, and the gateway still joins', async (context) => {
  const { admin, joiner } = context;
  const by = await token(context);
  const pending = await joinByToken('gw1', by.token, admin.bus.clock.now());
  const forged = encodeSignedRequest({ body: pending.body, proof: new Uint8Array(64) });
  const naked = encodeSignedRequest({ body: decodeSignedRequest(pending.request).body });
  for (const request of [forged, naked, new Uint8Array([1, 2, 3])]) {
    await admin.bus.joins.ask(pending.id, request);
    await waitFor(async () => (await admin.bus.joins.waiting()).length === 0, { what: 'it to be dropped' });
    assert.is(await admin.bus.joins.answerTo(pending.id), null);
  }
  assert.ok('serial' in (await joiner.outcomeOf(pending)));
});

test('a forged answer is ignored: by another key, to another request, or changed', async (context) => {
  const { admin, service, joiner } = context;
  const by = await token(context);
  const now = admin.bus.clock.now();
  const pending = await joinByToken('gw1', by.token, now);
  const real = await answerTo(admin.bus.joins, joiner, pending);
  assert.ok(await openJoinAnswer(pending, real));
  const { keys, body, sig } = decodeSignedAnswer(real);
  const { privateKey } = generateKeyPairSync('ed25519');
  const forgedSig = new Uint8Array(sign(null, joinedBytes(pending.body, body), privateKey));
  const no = encodeJoinAnswer({ kind: 'refused', detail: 'go away' });
  const stranger = await composed({});
  try {
    const other = await new JoinService(stranger).createToken({ gateway: 'gw1' }, 'x');
    assert.is.not(
      Buffer.from(parseToken('ppg1', other.token)?.fingerprint ?? []).toString('hex'),
      Buffer.from(service.fingerprint).toString('hex'),
    );
    const foreign = stranger.serverKeys.signer.signJoined(pending.body, body);
    const answers = [
      encodeSignedAnswer({ keys, body, sig: forgedSig }),
      encodeSignedAnswer({ keys, body: no, sig }),
      encodeSignedAnswer({ keys: stranger.serverKeys.documents, body, sig: foreign }),
      encodeSignedAnswer({ keys: [...stranger.serverKeys.documents, ...keys], body, sig: foreign }),
      encodeSignedAnswer({ keys: [], body, sig }),
      new Uint8Array([9]),
    ];
    for (const answer of answers) assert.is(await openJoinAnswer(pending, answer), null);
  } finally {
    await stranger.stop();
  }
  const toAnother = await joinByToken('gw1', by.token, now);
  assert.is(await openJoinAnswer(toAnother, real), null);
  const sealTwice = { ...pending, sealPair: toAnother.sealPair };
  await rejects(openJoinAnswer(sealTwice, real), () => {});
});

async function answerTo(joins: Joins, joiner: Joiner, pending: Parameters<Joiner['outcomeOf']>[0]) {
  await joiner.outcomeOf(pending);
  return (await joins.answerTo(pending.id)) ?? new Uint8Array();
}

test('without a token a gateway waits until an operator approves its fingerprint', async (context) => {
  const { joiner, service, admin } = context;
  const joining = joiner.join({ fingerprint: service.fingerprint });
  await waitFor(async () => (await service.requests()).length === 1, { what: 'the request' });
  const stranger = await joinByApproval('gw1', new Uint8Array(32), admin.bus.clock.now());
  await admin.bus.joins.ask(stranger.id, stranger.request);
  const requests = await service.requests();
  assert.equal(requests.map(({ name, ours }) => [name, ours]).sort(), [
    ['gw1', false],
    ['gw1', true],
  ]);
  await rejects(service.approve(stranger.id, 'tester'), (error) => assert.match(error.message, /another/));
  await rejects(service.approve('0'.repeat(64), 'tester'), (error) => assert.match(error.message, /repeats/));
  const own = requests.find(({ ours }) => ours);
  assert.is(own?.fingerprint, fingerprintText(own?.id ?? ''));
  await service.approve(own?.id ?? '', 'tester');
  const identity = await joining;
  assert.equal(await serials(context), [identity.serial]);
  const { items } = await admin.store.audit.list({ limit: 1 });
  assert.equal([items[0]?.action, items[0]?.actor], ['gateway.joined', 'tester']);
});

test('a certificate is renewed at two thirds of its life by its own key, with a new one', async (context) => {
  const { admin, joiner, files, clock } = context;
  const identity = await joiner.join(await token(context));
  const renewAfter = async () => 0;
  const parts = {
    joiner,
    files,
    log,
    now: () => clock.now,
    epoch: () => 1,
    renewAfter,
    health: new Dependency(),
    over: () => {},
  };
  const early = new Renewals({ ...parts, random: () => 0 }, identity);
  const renewals = new Renewals({ ...parts, random: () => 1 }, identity);
  assert.ok(early.renewAt < renewals.renewAt);
  assert.is(Math.round((renewals.renewAt - identity.issuedAt) / DAY_MS), 22);
  clock.now = renewals.renewAt - 1;
  await renewals.look();
  assert.is(renewals.identity.serial, identity.serial);
  clock.now = renewals.renewAt;
  await renewals.look();
  assert.is.not(renewals.identity.serial, identity.serial);
  assert.is.not(renewals.identity.privateKey, identity.privateKey);
  assert.is(files.read()?.serial, renewals.identity.serial);
  // Until every worker has taken up the new one.
  assert.equal((await serials(context)).sort(), [identity.serial, renewals.identity.serial].sort());
  assert.ok(renewals.renewAt > clock.now + 19 * DAY_MS);
  assert.is((await admin.store.gatewayCertificates.ofGateway('gw1')).length, 2);
});

test('an expired or revoked certificate renews nothing, and another key renews none', async (context) => {
  const { admin, joiner, clock, service } = context;
  const identity = await joiner.join(await token(context));
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const stolen = { ...identity, privateKey: privateKey.export({ format: 'pem', type: 'pkcs8' }) as string };
  const forged = await renew(stolen, clock.now);
  await admin.bus.joins.ask(forged.id, forged.request);
  await waitFor(async () => (await admin.bus.joins.waiting()).length === 0, { what: 'it to be dropped' });
  assert.is(await admin.bus.joins.answerTo(forged.id), null);
  const old = await renew(identity, clock.now - 700_000);
  await admin.bus.joins.ask(old.id, old.request);
  await waitFor(async () => (await admin.bus.joins.waiting()).length === 0, { what: 'it to be dropped' });
  assert.is(await admin.bus.joins.answerTo(old.id), null);
  const asAnother = await renew({ ...identity, gateway: 'gw2' }, clock.now);
  assert.equal(await joiner.outcomeOf(asAnother), {
    refused: 'The certificate is of gateway gw1, not of gateway gw2.',
    over: false,
  });
  await service.revoke('gw1', 'tester');
  const revoked = await joiner.outcomeOf(await renew(identity, clock.now));
  assert.match('refused' in revoked ? revoked.refused : '', /was revoked: join again/);
  const again = await another(context, 'gw1').joiner.join(await token(context));
  clock.now = again.expiresAt;
  const expired = await joiner.outcomeOf(await renew(again, clock.now));
  assert.match('refused' in expired ? expired.refused : '', /has expired: join again/);
  assert.equal(await serials(context), [again.serial]);
});

test('certificates that were renewed stay good until they end', async (context) => {
  const { admin, joiner, clock } = context;
  const first = await joiner.join(await token(context));
  let identity = first;
  const all = [first.serial];
  for (let count = 0; count < 3; count += 1) {
    clock.now += 1_000;
    const outcome = await joiner.outcomeOf(await renew(identity, clock.now));
    if ('refused' in outcome) throw new Error(outcome.refused);
    identity = outcome;
    all.push(outcome.serial);
  }
  assert.equal((await serials(context)).sort(), all.sort());
  assert.is(await admin.gatewayKeys.goodUntil('gw1', first.serial), first.expiresAt);
  // A certificate of one gateway says nothing of another.
  assert.is(await admin.gatewayKeys.goodUntil('gw2', first.serial), 0);
});

test('a gateway gets no more than 16 certificates within an hour', async (context) => {
  const { joiner, clock } = context;
  const identity = await joiner.join(await token(context));
  for (let count = 1; count < 16; count += 1) {
    assert.ok('serial' in (await joiner.outcomeOf(await renew(identity, clock.now))));
  }
  const asked = await renew(identity, clock.now);
  assert.match(JSON.stringify(await joiner.outcomeOf(asked)), /16 certificates within an hour/);
  clock.now += 3_600_001;
  assert.ok('serial' in (await joiner.outcomeOf(await renew(identity, clock.now))));
});

test('a renewal without an answer is asked for again, with a new time', async (context) => {
  const { admin, joiner, clock, files } = context;
  const identity = await joiner.join(await token(context));
  await admin.joinAnswers.stop();
  const parts = { joiner, files, log, now: () => clock.now, epoch: () => 1, renewAfter: async () => 0 };
  const more = { health: new Dependency(), over: () => {}, random: () => 0.5, freshMs: 300 };
  const renewals = new Renewals({ ...parts, ...more }, identity);
  clock.now = renewals.renewAt;
  await renewals.look();
  const [lost] = await admin.bus.joins.waiting();
  assert.ok(lost);
  // A server that is there again drops it: somebody may have written it down.
  clock.now += 700_000;
  admin.joinAnswers.start();
  await waitFor(async () => (await admin.bus.joins.waiting()).length === 0, { what: 'it to be dropped' });
  assert.is(await admin.bus.joins.answerTo(lost.id), null);
  await waitFor(async () => {
    await renewals.look();
    return renewals.identity.serial !== identity.serial;
  });
});

test('a gateway whose certificate was revoked learns it and keeps nothing of it', async (context) => {
  const { admin, joiner, clock, files, service } = context;
  const identity = await joiner.join(await token(context));
  const revokedAt = async () =>
    (await admin.store.gatewayCertificates.revocations()).find(({ gateway }) => gateway === 'gw1')?.at ?? 0;
  const parts = { joiner, files, log, now: () => clock.now, epoch: () => 1, renewAfter: revokedAt };
  const ends: string[] = [];
  const health = new Dependency();
  const renewals = new Renewals({ ...parts, health, over: (why) => ends.push(why) }, identity);
  await renewals.look();
  assert.equal([renewals.identity.serial, ends], [identity.serial, []]);
  clock.now += 1_000;
  await service.revoke('gw1', 'tester');
  await renewals.look();
  assert.is(ends.length, 1);
  assert.match(ends[0] ?? '', /gateway gw1 was revoked: join again/);
  assert.equal([files.read(), health.ok], [null, false]);
});

test('an epoch in Redis that the server does not have is ignored', async (context) => {
  const { joiner, clock, files } = context;
  const identity = await joiner.join(await token(context));
  assert.equal([identity.installation.epoch, identity.installation.id], [1, context.admin.installation.id]);
  assert.is(identity.installation.seal, context.admin.epochMac.of(context.admin.installation));
  let epoch = 99;
  const parts = { joiner, files, log, now: () => clock.now, renewAfter: async () => 0, over: () => {} };
  const renewals = new Renewals({ ...parts, epoch: () => epoch, health: new Dependency() }, identity);
  await renewals.look();
  const { serial, installation } = renewals.identity;
  assert.is.not(serial, identity.serial);
  assert.is(installation.epoch, 1);
  clock.now += 3_600_000;
  await renewals.look();
  assert.is(renewals.identity.serial, serial, 'the same once more');
  // Whoever writes others has it renew a few times, and then once a minute.
  for (let count = 0; count < 10; count += 1) {
    epoch += 1;
    await renewals.look();
  }
  assert.is((await serials(context)).length, 2 + 4);
});

/** As in a backup from before: nothing of certificates, and another authority. */
async function forget({ admin }: Context): Promise<void> {
  const { store } = admin;
  await store.gatewayCertificates.prune(Number.MAX_SAFE_INTEGER);
  await store.transaction((tx) => admin.authority.introduceNext(tx));
  await store.transaction((tx) => admin.authority.useNext(tx));
  await store.transaction((tx) => admin.authority.drop(tx, 'old'));
  admin.gatewayKeys.forget();
}

test('a restored database believes certificates issued since, and records them', async (context) => {
  const { admin, joiner, clock, files } = context;
  const identity = await joiner.join(await token(context));
  await forget(context);
  assert.equal(await serials(context), []);
  assert.is(await admin.gatewayKeys.goodUntil('gw1', identity.serial), identity.issuedAt + 30 * DAY_MS);
  const parts = { joiner, files, log, now: () => clock.now, renewAfter: async () => 0, over: () => {} };
  let { epoch } = admin.installation;
  const renewals = new Renewals({ ...parts, epoch: () => epoch, health: new Dependency() }, identity);
  await renewals.look();
  assert.is(renewals.identity.serial, identity.serial);
  epoch += 1;
  await renewals.look();
  const renewed = renewals.identity;
  assert.equal((await serials(context)).sort(), [identity.serial, renewed.serial].sort());
  assert.is(renewed.trusts, '2');
  const recorded = await admin.store.gatewayCertificates.get(identity.serial);
  // X.509 counts seconds.
  assert.is(recorded?.expiresAt, Math.floor(identity.expiresAt / 1_000) * 1_000);
  clock.now = identity.issuedAt + 30 * DAY_MS;
  const late = await joiner.outcomeOf(await renew(identity, clock.now));
  assert.match('refused' in late ? late.refused : '', /has expired/);
});

test('a certificate that nobody recorded ends when its gateway is revoked or replaced', async (context) => {
  const { admin, joiner, clock, service } = context;
  const identity = await joiner.join(await token(context));
  await forget(context);
  clock.now += 1_000;
  await rejects(service.revoke('gw1', 'tester'), (error) => assert.match(error.message, /no certificate/));
  const next = await another(context, 'gw1').joiner.join(await token(context));
  const takenAt = clock.now;
  admin.gatewayKeys.forget();
  assert.is(await admin.gatewayKeys.goodUntil('gw1', identity.serial), takenAt);
  assert.is(await admin.gatewayKeys.goodUntil('gw1', next.serial), next.expiresAt);
  const revoked = await joiner.outcomeOf(await renew(identity, clock.now));
  assert.match('refused' in revoked ? revoked.refused : '', /was revoked/);
  clock.now += 1_000;
  await service.revoke('gw1', 'tester');
  await forget(context);
  assert.is(await admin.gatewayKeys.goodUntil('gw1', next.serial), clock.now);
});

test('a gateway that runs is revoked although its certificate is not recorded', async (context) => {
  const { admin, joiner, clock } = context;
  const identity = await joiner.join(await token(context));
  await forget(context);
  clock.now += 1_000;
  const leases = {
    list: () => [{ identity: { gateway: 'gw1' } }] as unknown as Lease[],
    refresh: async () => {},
  };
  const service = new JoinService({ ...admin, leases });
  assert.equal(await service.revoke('gw1', 'tester'), []);
  assert.is(await admin.gatewayKeys.goodUntil('gw1', identity.serial), clock.now);
});

test('who has not the key of a certificate renews none that a restored database forgot', async (context) => {
  const { admin, joiner, clock } = context;
  const identity = await joiner.join(await token(context));
  await forget(context);
  const stranger = await composed({});
  try {
    stranger.joinAnswers.start();
    const made = await new JoinService(stranger).createToken({ gateway: 'gw1' }, 'x');
    const by = parseToken('ppg1', made.token);
    if (!by) throw new Error('no join token');
    const files = new IdentityFiles(mkdtempSync(join(context.folder, 'stranger-')));
    const there = { bus: stranger.bus, log, gateway: 'gw1', lookMs, files };
    const foreign = await new Joiner(there).join({ token: by });
    const { fingerprint } = identity;
    const stolen = { ...identity, macKey: new Uint8Array(32) };
    for (const one of [{ ...foreign, fingerprint }, stolen]) {
      const request = await renew(one, clock.now);
      await admin.bus.joins.ask(request.id, request.request);
      await waitFor(async () => (await admin.bus.joins.waiting()).length === 0, { what: 'it to be dropped' });
      assert.is(await admin.bus.joins.answerTo(request.id), null);
    }
  } finally {
    await stranger.joinAnswers.stop();
    await stranger.stop();
  }
});

test('the authority is rotated while one gateway runs and another is away', async (context) => {
  const { admin, joiner, clock, files } = context;
  const away = another(context, 'gw2');
  const awayIdentity = await away.joiner.join(await token(context, 'gw2'));
  const identity = await joiner.join(await token(context));
  const renewAfter = () => admin.authority.changedAt();
  const parts = { joiner, files, log, now: () => clock.now, epoch: () => 1, renewAfter, over: () => {} };
  const renewals = new Renewals({ ...parts, health: new Dependency() }, identity);
  const live = () =>
    [{ identity: { gateway: 'gw1' }, serial: renewals.identity.serial }] as unknown as Lease[];
  const authorities = new AuthorityService({ ...admin, leases: { list: live } });
  const takesUp = async () => {
    clock.now += 60_000;
    await renewals.look();
    const { certificate, authorities: trusted } = renewals.identity;
    const own = new X509Certificate(certificate);
    assert.ok(trusted.some((pem) => own.verify(new X509Certificate(pem).publicKey)));
    return renewals.identity.trusts;
  };
  const refusesToAdvance = () =>
    rejects(authorities.advance('tester'), (error) => assert.match(error.message, /not applied .*: gw1\./));
  assert.equal([(await authorities.show()).phase, renewals.identity.trusts], ['steady', '1']);
  await rejects(authorities.rollback('tester'), (error) => assert.match(error.message, /No rotation/));

  clock.now += 1_000;
  assert.equal((await authorities.rotate('tester')).waitingFor, ['gw1']);
  await refusesToAdvance();
  assert.is(await takesUp(), '1,2');
  await rejects(authorities.rotate('tester'), (error) => assert.match(error.message, /under way/));
  clock.now += 1_000;
  assert.is((await authorities.rollback('tester')).phase, 'steady');
  assert.is(await takesUp(), '1');

  clock.now += 1_000;
  await authorities.rotate('tester');
  assert.is(await takesUp(), '1,3');
  clock.now += 1_000;
  assert.is((await authorities.advance('tester')).phase, 'used');
  await refusesToAdvance();
  assert.is(await takesUp(), '3,1');
  clock.now += 1_000;
  assert.is((await authorities.rollback('tester')).phase, 'introduced');
  assert.is(await takesUp(), '1,3');
  clock.now += 1_000;
  await authorities.advance('tester');
  assert.is(await takesUp(), '3,1');
  clock.now += 1_000;
  const { phase, authorities: left } = await authorities.advance('tester');
  assert.equal([phase, left.map(({ number }) => number)], ['steady', [3]]);
  assert.is(await takesUp(), '3');

  const returned = await away.joiner.outcomeOf(await renew(awayIdentity, clock.now));
  if ('refused' in returned) throw new Error(returned.refused);
  assert.is(returned.trusts, '3');
  const { items } = await admin.store.audit.list({ limit: 100 });
  assert.is(items.filter(({ action }) => action.startsWith('authority.')).length, 7);
});

test('whoever joins under a name takes it over', async (context) => {
  const before = await context.joiner.join(await token(context));
  const replaced = await another(context, 'gw1').joiner.join(await token(context));
  assert.equal(await serials(context), [replaced.serial]);
  const stored = await context.admin.store.gatewayCertificates.get(before.serial);
  assert.ok(stored?.revokedAt);
});

/** Each transaction tells what it did to authorities and certificates, in order. */
function watched(store: Store, transactions: string[][]): Store {
  const bound = (target: object, key: PropertyKey): unknown => {
    const value = Reflect.get(target, key, target);
    return typeof value === 'function' ? value.bind(target) : value;
  };
  const telling = (part: object, told: string[]) =>
    new Proxy(part, {
      get: (target, key) => {
        const call = bound(target, key);
        if (typeof call !== 'function') return call;
        return (...args: unknown[]) => {
          told.push(String(key));
          return call(...args);
        };
      },
    });
  return new Proxy(store, {
    get: (target, key) => {
      if (key !== 'transaction') return bound(target, key);
      return (work: (tx: Store) => Promise<unknown>) =>
        target.transaction((tx) => {
          const told: string[] = [];
          transactions.push(told);
          return work(
            new Proxy(tx, {
              get: (of, part) =>
                part === 'authorities' || part === 'gatewayCertificates'
                  ? telling(of[part], told)
                  : bound(of, part),
            }),
          );
        });
    },
  });
}

test('operations that issue or revoke certificates wait for each other', async (context) => {
  const { admin, clock } = context;
  const transactions: string[][] = [];
  const parts = { ...admin, store: watched(admin.store, transactions) };
  await admin.joinAnswers.stop();
  const joinAnswers = new JoinAnswers({ ...parts, lookMs });
  joinAnswers.start();
  const service = new JoinService({ ...parts, joinAnswers });
  const { joiner } = another(context, 'gw1');
  const joining = joiner.join({ fingerprint: service.fingerprint });
  await waitFor(async () => (await admin.bus.joins.waiting()).length > 0);
  await service.approve((await service.requests())[0]?.id ?? '', 'tester');
  const identity = await joining;
  assert.ok('serial' in (await joiner.outcomeOf(await renew(identity, clock.now))));
  await service.revoke('gw1', 'tester');
  await joinAnswers.stop();
  const changes = transactions.filter((told) => told.some((call) => call === 'create' || call === 'revoke'));
  assert.is(changes.length, 3, JSON.stringify(transactions));
  for (const told of changes) assert.is(told[0], 'lock', JSON.stringify(told));
});

test('a damaged file is said to be damaged', ({ files, folder }) => {
  assert.is(files.read(), null);
  writeFileSync(join(folder, 'identity.json'), '{');
  assert.throws(() => files.read(), /identity.json is damaged: restore it, or delete it and join again/);
});

test('text that is no join token is none', async (context) => {
  const { token: text } = await context.service.createToken({ gateway: 'gw1' }, 'tester');
  const parsed = parseToken('ppg1', `${text}\n`);
  assert.is(parsed && tokenText('ppg1', parsed), text);
  for (const wrong of ['', 'x', text.replace('ppg1', 'pp1'), `${text}.x`, text.slice(0, -1), `${text}A`]) {
    assert.is(parseToken('ppg1', wrong), null, wrong);
  }
});

test.run();
