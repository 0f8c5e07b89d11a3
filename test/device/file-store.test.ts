import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  chmodSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type ExecutionRecord, FileStore, FolderInUse } from '../../device/index.ts';
import { fixture } from './fixture.ts';
import { ScriptGateway } from './script-gateway.ts';

const folders: string[] = [];
function folder(): string {
  const made = mkdtempSync(join(tmpdir(), 'pushpoint-store-'));
  folders.push(made);
  return join(made, 'state');
}

function settled(id: string): ExecutionRecord {
  return { id, issuedAt: 5, expiresAt: 9, state: 'settled' };
}

test('E-4: who the device is, is read as it was kept', async () => {
  const path = folder();
  const store = await FileStore.open(path);
  const identity = {
    deviceId: 'd1',
    secret: new Uint8Array(32).fill(4),
    generation: 2,
    installation: 'i1',
    server: 'https://a.example',
  };
  const bytes = (fill: number) => new Uint8Array(64).fill(fill);
  const keys = { body: bytes(5), sig: bytes(6), previousSig: bytes(7) };
  await store.saveState({ identity, keys, gateways: [] });
  await store.close();
  const again = await FileStore.open(path);
  assert.equal((await again.load()).state.identity, identity);
  assert.equal((await again.load()).state.keys, keys);
  await again.close();
});

test('the folder is its owner’s only, and so are the files in it', async () => {
  const path = folder();
  const store = await FileStore.open(path);
  const key = { publicKey: new Uint8Array(32).fill(1), privateKey: new Uint8Array(32).fill(2) };
  await store.saveState({ key, gateways: [] });
  await store.append([{ put: settled('c1') }]);
  assert.is(statSync(path).mode & 0o777, 0o700);
  for (const file of ['device.json', 'executions.log', 'lock']) {
    assert.is(statSync(join(path, file)).mode & 0o777, 0o600, file);
  }
  await store.close();
  chmodSync(path, 0o755);
  chmodSync(join(path, 'device.json'), 0o644);
  const again = await FileStore.open(path);
  assert.is(statSync(path).mode & 0o777, 0o700);
  assert.is(statSync(join(path, 'device.json')).mode & 0o777, 0o600);
  assert.equal((await again.load()).state.key, key);
  await again.close();
});

test('D-3: written records are there at the next opening, in their newest form', async () => {
  const path = folder();
  const store = await FileStore.open(path);
  await Promise.all([
    store.append([
      { put: { ...settled('c1'), state: 'finished', outcome: { state: 'succeeded', data: { a: 1 } } } },
    ]),
    store.append([{ put: settled('c2') }]),
    store.append([{ put: settled('c1') }, { forget: 'c2', issuedAt: 99 }]),
    store.append([{ marks: { issuedAt: 77 } }]),
  ]);
  await store.close();
  const again = await FileStore.open(path);
  const { executions, marks } = await again.load();
  assert.equal(executions, [settled('c1')]);
  assert.equal(marks, { issuedAt: 99 });
  await again.close();
});

test('a torn last line is left out, and what follows is not lost with it', async () => {
  const path = folder();
  const store = await FileStore.open(path);
  await store.append([{ put: settled('c1') }]);
  await store.append([{ put: settled('c2') }]);
  await store.close();
  const log = join(path, 'executions.log');
  const text = readFileSync(log, 'utf8');
  writeFileSync(log, text.slice(0, -10));
  const second = await FileStore.open(path);
  assert.is(second.damagedLines, 1);
  assert.equal((await second.load()).executions, [settled('c1')]);
  await second.append([{ put: settled('c3') }]);
  await second.close();
  // A line spoilt in the middle costs that line only.
  const lines = readFileSync(log, 'utf8').split('\n');
  lines[1] = (lines[1] as string).replace('c1', 'cX');
  writeFileSync(log, lines.join('\n'));
  appendFileSync(log, 'garbage');
  const third = await FileStore.open(path);
  assert.is(third.damagedLines, 2);
  assert.equal((await third.load()).executions, [settled('c3')]);
  await third.close();
});

test('a journal that is mostly history is rewritten', async () => {
  const path = folder();
  const store = await FileStore.open(path);
  const outcome = { state: 'succeeded' as const, data: 'x'.repeat(1_000) };
  for (let round = 0; round < 30; round++) {
    await Promise.all(
      Array.from({ length: 100 }, (_, i) =>
        store.append([{ put: { ...settled(`c${i}`), state: 'finished', outcome } }]),
      ),
    );
  }
  assert.ok(statSync(join(path, 'executions.log')).size < 2_200_000);
  await store.close();
  const again = await FileStore.open(path);
  assert.is((await again.load()).executions.length, 100);
  await again.close();
});

test('a second program in the same folder is refused; the lock of a dead one is taken over', async () => {
  const path = folder();
  const store = await FileStore.open(path);
  const refused = await FileStore.open(path).catch((error) => error);
  assert.instance(refused, FolderInUse);
  await store.close();
  const lock = join(path, 'lock');
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
  await once(child, 'spawn');
  const stat = readFileSync(`/proc/${child.pid}/stat`, 'utf8');
  const started = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  writeFileSync(lock, `${child.pid} ${started}`);
  assert.instance(await FileStore.open(path).catch((error) => error), FolderInUse);
  child.kill('SIGKILL');
  await once(child, 'exit');
  const taken = await FileStore.open(path);
  await taken.close();
  // The same process id, started at another time: another process, after a restart of the machine.
  writeFileSync(lock, `${process.pid} 1`);
  await (await FileStore.open(path)).close();
});

test('D-4, D-7: a device over a file store remembers across programs', async () => {
  const gateway = await ScriptGateway.start();
  const path = folder();
  let store = await FileStore.open(path);
  await store.saveState(gateway.state());
  const first = await fixture({ gateway, store });
  await gateway.sendMembership(3, ['root']);
  await gateway.sendCommand('c1');
  await gateway.last.first('result', 'c1');
  await first.device.stop({ abrupt: true });
  await store.close();
  store = await FileStore.open(path);
  const second = await fixture({ gateway, store, connect: false });
  const peer = await gateway.session(2);
  assert.is((await peer.first('result', 'c1')).state, 'succeeded');
  assert.equal((await peer.first('prove')).membership, [1, 3]);
  assert.equal(second.ran, []);
  await second.end();
});

test.after(() => {
  for (const path of folders) rmSync(path, { recursive: true, force: true });
});

test.run();
