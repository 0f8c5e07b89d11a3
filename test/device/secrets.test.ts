/** Secret commands on the device (PROTOCOL.md, section X). */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Command, Failed, FileStore, type GroupKey } from '../../device/index.ts';
import { webCrypto } from '../../device/platform/crypto-web.ts';
import { LIMITS } from '../../protocol/index.ts';
import { type Fixture, type FixtureOptions, fixture } from './fixture.ts';
import { ScriptGateway } from './script-gateway.ts';
import { until } from './until.ts';

const ARGS = { password: 'correct horse' };
const groupKey = (number = 1, group = 'shops'): GroupKey => ({
  group,
  epoch: 1,
  number,
  key: new Uint8Array(32).fill(number),
});

interface SecretFixture extends Fixture {
  got: Command[];
}

/** A device in the group `shops` whose questions for keys come at once. */
async function secretFixture(
  { options, ...setup }: FixtureOptions = {},
  work: (command: Command) => unknown = () => ({ token: 'battery staple' }),
): Promise<SecretFixture> {
  const got: Command[] = [];
  const sessions = setup.gateway?.proofs ?? 0;
  const f = await fixture({
    ...setup,
    connect: false,
    options: { random: () => 0, ...options },
    handlers: (device, ran) => {
      device.handle('sync', (command) => {
        ran.push(command.id);
        got.push(command);
        return work(command);
      });
    },
  });
  await f.gateway.session(sessions + 1);
  await f.gateway.sendMembership(1, ['all', 'shops']);
  return Object.assign(f, { got });
}

const toGroup = (by: GroupKey) => ({ by, target: { group: by.group } });

for (const [platform, crypto] of [
  ['Node', undefined],
  ['browsers', webCrypto],
] as const) {
  test(`X-3, X-8 (${platform}): a device reads its own secret command; its result is sealed`, async () => {
    const f = await secretFixture({ options: crypto ? { crypto } : {} });
    await f.gateway.sendSecret('c1', ARGS);
    const { sealed, state, data } = await f.gateway.last.first('result', 'c1');
    assert.equal(
      { sealed, state, data },
      { sealed: true, state: 'succeeded', data: { token: 'battery staple' } },
    );
    const [command] = f.got;
    assert.equal(command?.args, ARGS);
    assert.is(command?.secret, true);
    assert.not('sealed' in (command ?? {}));
    assert.is(f.gateway.last.of('want').length, 0);
    await f.end();
  });

  test(`X-5, X-6, X-7 (${platform}): a device asks for a key, and begins when it has it`, async () => {
    const f = await secretFixture({ options: crypto ? { crypto } : {} });
    const key = groupKey();
    await f.gateway.sendSecret('c1', ARGS, toGroup(key));
    await f.gateway.last.first('ack', 'c1');
    const { group, epoch, number } = await f.gateway.last.first('want');
    assert.equal({ group, epoch, number }, { group: 'shops', epoch: 1, number: 1 });
    assert.equal(f.ran, []);
    await f.gateway.sendKey(key);
    assert.ok((await f.gateway.last.first('result', 'c1')).sealed);
    assert.equal(f.got[0]?.args, ARGS);
    // It keeps the key.
    await f.gateway.sendSecret('c2', ARGS, toGroup(key));
    await f.gateway.last.first('result', 'c2');
    assert.is(f.gateway.last.of('want').length, 1);
    await f.end();
  });
}

test('D-1: an ordinary command says nothing of secrets to its handler', async () => {
  const f = await secretFixture();
  await f.gateway.sendCommand('c1', { args: { full: true } });
  assert.not((await f.gateway.last.first('result', 'c1')).sealed);
  assert.not('secret' in (f.got[0] as Command));
  await f.end();
});

test('X-3: arguments of another command, device or key are not run', async () => {
  const f = await secretFixture();
  const key = groupKey();
  await f.gateway.sendSecret('c1', ARGS, toGroup(key));
  await f.gateway.last.first('want');
  await f.gateway.sendKey(key);
  await f.gateway.last.first('result', 'c1');
  const other = { ...key, key: new Uint8Array(32).fill(99) };
  await f.gateway.sendSecret('c2', ARGS, toGroup(other));
  const { state, reason } = await f.gateway.last.first('result', 'c2');
  assert.equal([state, reason], ['failed', 'unreadable']);
  assert.equal(f.ran, ['c1']);
  await f.end();
});

test('X-7: a cancel ends a secret command that waits for its key', async () => {
  const f = await secretFixture();
  await f.gateway.sendSecret('c1', ARGS, toGroup(groupKey()));
  await f.gateway.last.first('want');
  await f.gateway.sendCancel('c1');
  assert.is((await f.gateway.last.first('result', 'c1')).state, 'canceled');
  await f.gateway.sendKey(groupKey());
  await f.gateway.sendSecret('c2', ARGS);
  await f.gateway.last.first('result', 'c2');
  assert.equal(f.ran, ['c2']);
  await f.end();
});

test('X-7: without its key a secret command fails when its time is over', async () => {
  const f = await secretFixture();
  await f.gateway.sendSecret('c1', ARGS, { ...toGroup(groupKey()), timeoutMs: 50 });
  const { sealed, state, reason } = await f.gateway.last.first('result', 'c1');
  assert.equal([sealed, state, reason], [undefined, 'failed', 'no key']);
  assert.equal(f.ran, []);
  await f.end();
});

test('X-7: a command that waits for its key holds no other back', async () => {
  const f = await secretFixture({ options: { limits: { concurrency: 1 } } });
  await f.gateway.sendSecret('c1', ARGS, toGroup(groupKey()));
  await f.gateway.last.first('ack', 'c1');
  await f.gateway.sendCommand('c2');
  await f.gateway.last.first('result', 'c2');
  assert.equal(f.ran, ['c2']);
  await f.end();
});

test('X-5: a device asks again in its next session, and after a restart', async () => {
  const f = await secretFixture();
  await f.gateway.sendSecret('c1', ARGS, toGroup(groupKey()));
  await f.gateway.last.first('want');
  f.gateway.last.socket.terminate();
  await f.gateway.session(2);
  await f.gateway.last.first('want');
  await f.restart();
  await f.gateway.last.first('want');
  await f.gateway.sendKey(groupKey());
  assert.is((await f.gateway.last.first('result', 'c1')).state, 'succeeded');
  assert.equal(f.ran, ['c1']);
  await f.end();
});

test('X-6: a device takes a key only if it asked and the server sealed it for this device', async () => {
  const f = await secretFixture();
  // Not asked for.
  await f.gateway.sendKey(groupKey(1));
  await f.gateway.sendSecret('c1', ARGS, toGroup(groupKey(1)));
  await f.gateway.last.first('want');
  // For another device, and under another number.
  await f.gateway.sendKey(groupKey(1), 'dev-2');
  const { key } = groupKey(1);
  await f.gateway.sendKey({ ...groupKey(2), key });
  await f.gateway.sendCommand('c2');
  await f.gateway.last.first('result', 'c2');
  assert.equal(f.ran, ['c2']);
  await f.gateway.sendKey(groupKey(1));
  await f.gateway.last.first('result', 'c1');
  await f.end();
});

test('X-7: of more than 64 keys the oldest is dropped, and asked for again', async () => {
  const f = await secretFixture();
  for (let number = 1; number <= 65; number++) {
    await f.gateway.sendSecret(`c${number}`, ARGS, toGroup(groupKey(number)));
    await until(() => f.gateway.last.of('want').at(-1)?.number === number, `want ${number}`);
    await f.gateway.sendKey(groupKey(number));
    await f.gateway.last.first('result', `c${number}`);
  }
  await f.gateway.sendSecret('again-65', ARGS, toGroup(groupKey(65)));
  await f.gateway.last.first('result', 'again-65');
  await f.gateway.sendSecret('again-1', ARGS, toGroup(groupKey(1)));
  await until(() => f.gateway.last.of('want').at(-1)?.number === 1, 'want 1 again');
  assert.is((await f.store.load()).state.groupKeys?.length, 64);
  await f.end();
});

test('X-7: more than 64 keys are wanted: the others are asked for as soon as there is room', async () => {
  const f = await secretFixture();
  for (let number = 1; number <= 66; number++) {
    await f.gateway.sendSecret(`c${number}`, ARGS, toGroup(groupKey(number)));
    await f.gateway.last.first('ack', `c${number}`);
  }
  const asked = () => new Set(f.gateway.last.of('want').map(({ number }) => number));
  await until(() => asked().size === 64, '64 keys');
  await f.gateway.sendKey(groupKey(1));
  await until(() => asked().has(65), 'want 65');
  assert.not(asked().has(66));
  await f.gateway.sendKey(groupKey(65));
  await until(() => asked().has(66), 'want 66');
  await f.gateway.sendKey(groupKey(66));
  for (const id of ['c1', 'c65', 'c66']) await f.gateway.last.first('result', id);
  await f.end();
});

test('X-8: reasons are sealed too, notes stay at home, and too long data is left out', async () => {
  const long = 'x'.repeat(LIMITS.secretResultBytes);
  let fail = () => {};
  const f = await fixture({
    handlers: (device) => {
      device.handle('sync', ({ id }, { progress }) => {
        progress(50, 'a secret note');
        if (id !== 'c1') return long;
        return new Promise((_, reject) => {
          fail = () => reject(new Failed('no entry for correct horse', { tried: 'correct horse' }));
        });
      });
    },
  });
  await f.gateway.sendSecret('c1', ARGS);
  const progress = await f.gateway.last.first('progress', 'c1');
  assert.is(progress.note, undefined);
  fail();
  const failed = await f.gateway.last.first('result', 'c1');
  assert.ok(failed.sealed);
  assert.is(failed.reason, 'no entry for correct horse');
  await f.gateway.sendSecret('c2', ARGS);
  const { sealed, state, data, reason } = await f.gateway.last.first('result', 'c2');
  assert.equal({ sealed, state, data }, { sealed: true, state: 'succeeded', data: undefined });
  assert.match(reason ?? '', 'could not travel');
  // The program's log gets no word of it.
  assert.equal(
    f.faults.map(({ message }) => message),
    ["sync c2: its handler's result could not travel"],
  );
  // Asked again about a settled one, it tells the state alone.
  f.gateway.settle('c1');
  await until(
    async () => (await f.store.load()).executions.some(({ state }) => state === 'settled'),
    'settled',
  );
  await f.gateway.sendSecret('c1', ARGS);
  await until(() => f.gateway.last.of('result', 'c1').length === 2, 'c1 again');
  assert.is(f.gateway.last.of('result', 'c1')[1]?.reason, undefined);
  await f.end();
});

test('X-7, D-7: a file store keeps keys and sealed arguments, never arguments that can be read', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'secrets-'));
  const gateway = await ScriptGateway.start();
  const first = await FileStore.open(folder);
  await first.saveState(gateway.state());
  const f = await secretFixture({ gateway, store: first });
  await gateway.sendSecret('c1', ARGS, toGroup(groupKey()));
  await gateway.last.first('want');
  await f.device.stop({ abrupt: true });
  await first.close();
  const journal = await readFile(join(folder, 'executions.log'), 'utf8');
  assert.match(journal, '"sealed"');
  assert.not.match(journal, 'password');

  const second = await FileStore.open(folder);
  const g = await secretFixture({ gateway, store: second });
  await gateway.last.first('want');
  await gateway.sendKey(groupKey());
  await gateway.last.first('result', 'c1');
  assert.equal(g.got[0]?.args, ARGS);
  await g.device.stop({ abrupt: true });
  await second.close();

  const third = await FileStore.open(folder);
  const h = await secretFixture({ gateway, store: third });
  await gateway.sendSecret('c2', ARGS, toGroup(groupKey()));
  await gateway.last.first('result', 'c2');
  assert.is(gateway.last.of('want').length, 0);
  assert.equal([...f.ran, ...g.ran, ...h.ran], ['c1', 'c2']);
  await h.end();
  await rm(folder, { recursive: true });
});

test('X-8: what a secret command returned lies sealed in the journal, also after a restart', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'secrets-'));
  const gateway = await ScriptGateway.start();
  const first = await FileStore.open(folder);
  await first.saveState(gateway.state());
  const f = await secretFixture({ gateway, store: first });
  await gateway.sendSecret('c1', ARGS);
  const { data } = await gateway.last.first('result', 'c1');
  await f.device.stop({ abrupt: true });
  await first.close();
  const journal = await readFile(join(folder, 'executions.log'), 'utf8');
  assert.match(journal, '"finished"');
  assert.not.match(journal, 'battery staple');

  const second = await FileStore.open(folder);
  const g = await secretFixture({ gateway, store: second });
  const again = await gateway.last.first('result', 'c1');
  assert.equal([again.sealed, again.state, again.data], [true, 'succeeded', data]);
  assert.equal(data, { token: 'battery staple' });
  await g.end();
  await rm(folder, { recursive: true });
});

test('X-8: a result that nobody can open any more is reported by its state', async () => {
  const gateway = await ScriptGateway.start();
  const foreign = { nonce: new Uint8Array(12), ct: new Uint8Array(40) };
  const store = gateway.store();
  const times = { issuedAt: 1, expiresAt: Date.now() + 60_000 };
  await store.append([
    { put: { id: 'c1', ...times, state: 'finished', outcome: { state: 'succeeded' }, sealed: foreign } },
  ]);
  const f = await secretFixture({ gateway, store });
  const { sealed, state } = await gateway.last.first('result', 'c1');
  assert.equal([sealed, state], [undefined, 'succeeded']);
  await f.end();
});

test('X-7: a device that left the group reads the command once that comes sealed for it alone', async () => {
  const f = await secretFixture();
  await f.gateway.sendSecret('c1', ARGS, toGroup(groupKey()));
  await f.gateway.last.first('want');
  await f.gateway.sendMembership(2, ['all']);
  await f.gateway.sendSecret('c1', ARGS);
  const { state } = await f.gateway.last.first('result', 'c1');
  assert.is(state, 'succeeded');
  assert.equal(f.got[0]?.args, ARGS);
  // It is the same command: neither form makes it run again.
  await f.gateway.sendSecret('c1', ARGS);
  await f.gateway.sendCommand('c2');
  await f.gateway.last.first('result', 'c2');
  assert.equal(f.ran, ['c1', 'c2']);
  await f.end();
});

test('X-7: the other form is kept across a restart', async () => {
  const f = await secretFixture();
  await f.gateway.sendSecret('c1', ARGS, toGroup(groupKey()));
  await f.gateway.last.first('want');
  await f.device.stop({ abrupt: true });
  const { executions } = await f.store.load();
  const [record] = executions;
  assert.ok(record && 'command' in record && record.command.sealed?.key);
  await f.restart();
  await f.gateway.sendSecret('c1', ARGS, toGroup(groupKey(2)));
  await until(async () => {
    const [now] = (await f.store.load()).executions;
    return now && 'command' in now && now.command.sealed?.key?.number === 2;
  }, 'the other form to be kept');
  await f.gateway.last.first('want');
  await f.gateway.sendKey(groupKey(2));
  assert.is((await f.gateway.last.first('result', 'c1')).state, 'succeeded');
  await f.end();
});

test('X-7, D-7: work of a secret command that outlives the program is followed to its end', async () => {
  const gateway = await ScriptGateway.start();
  const store = gateway.store();
  const asked: unknown[] = [];
  const setup = (end: () => unknown): FixtureOptions => ({
    gateway,
    store,
    handlers: (device, ran) => {
      device.handle(
        'sync',
        ({ id }) => {
          ran.push(id);
          return end();
        },
        {
          goesOn: ({ args }) => {
            asked.push(args);
            return true;
          },
        },
      );
    },
  });
  const f = await fixture(setup(() => new Promise(() => {})));
  await gateway.sendSecret('c1', ARGS);
  await until(() => f.ran.length > 0, 'the handler');
  await f.device.stop({ abrupt: true });
  const g = await fixture({ ...setup(() => 'over'), connect: false });
  await gateway.session(2);
  assert.is((await gateway.last.first('result', 'c1')).data, 'over');
  assert.ok(asked.length > 0);
  for (const args of asked) assert.equal(args, ARGS);
  await g.end();
});

test.run();
