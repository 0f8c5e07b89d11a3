// time limit: 480 s
/** Keys change while devices are connected and commands flow, and nothing is lost. */
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { ServerKeysView } from '../../cli/api/views.ts';
import { decodeServerKeys } from '../../protocol/index.ts';
import { startCli } from '../services/processes.ts';
import { waitFor } from '../wait.ts';
import type { TestDevice } from './fleet.ts';
import { type Lab, withLab } from './lab.ts';

const DEVICES = 40;
const { testLab } = withLab({ bus: 'redis', gateways: 2 });

function keysNow(lab: Lab): Promise<ServerKeysView> {
  return lab.operator.api.get<ServerKeysView>('/v1/keys');
}

/** Connected devices that hold the document in force. */
async function fleet(lab: Lab, count: number): Promise<TestDevice[]> {
  const { document, sig } = await keysNow(lab);
  const keys = { body: Buffer.from(document, 'base64url'), sig: Buffer.from(sig, 'base64url') };
  const devices = await lab.enrolled(count);
  for (const { store } of devices) await store.saveState({ ...(await store.load()).state, keys });
  await lab.connect(devices);
  return devices;
}

/** `pushpoint keys ...` as an operator runs it. */
async function cli(lab: Lab, ...args: string[]): Promise<ServerKeysView> {
  const { deployment } = lab;
  const where = [
    '--server',
    deployment.server,
    '--token-file',
    join(deployment.folder, 'data', 'admin-token'),
  ];
  const program = startCli(['keys', ...args, '--json', ...where]);
  const { code } = await program.exited;
  assert.is(code, 0, program.output);
  return JSON.parse(program.output.slice(program.output.indexOf('{'))) as ServerKeysView;
}

/** The revision of the document that the device holds. */
async function revisionOf({ store }: TestDevice): Promise<number> {
  const { keys } = (await store.load()).state;
  return keys ? decodeServerKeys(keys.body).revision : 0;
}

/** Commands to single devices and to all, one after the other, until the returned function is called. */
function flow(lab: Lab, devices: readonly TestDevice[]): () => Promise<string[]> {
  let going = true;
  const given: string[] = [];
  const work = (async () => {
    for (let n = 0; going; n++) {
      const single = devices[n % devices.length] as TestDevice;
      for (const options of [{}, { group: 'all' }]) {
        const { id } = await lab.operator.send('statistics', options.group ? devices : [single], options);
        given.push(id);
      }
      for (const id of given.slice(-2)) await lab.operator.finished(id, 60_000);
    }
  })();
  return async () => {
    going = false;
    await work;
    return given;
  };
}

async function allHold(devices: readonly TestDevice[], revision: number): Promise<void> {
  await waitFor(async () => (await Promise.all(devices.map(revisionOf))).every((held) => held === revision), {
    what: `every device to hold revision ${revision}`,
    timeoutMs: 30_000,
  });
}

testLab('K-4, K-5: a signing key is rotated and retired under load, and no command is lost', async (lab) => {
  const first = await keysNow(lab);
  const devices = await fleet(lab, DEVICES);
  const stop = flow(lab, devices);
  const rotated = await cli(lab, 'rotate');
  assert.is(rotated.revision, first.revision + 1);
  const settled = async (what: (keys: ServerKeysView) => boolean, sentence: string) =>
    waitFor(async () => what(await keysNow(lab)), { what: sentence, timeoutMs: 60_000, intervalMs: 200 });
  await settled(({ signing }) => signing.every(({ state }) => state !== 'next'), 'the next key to be in use');
  await allHold(devices, first.revision + 1);
  await settled(({ notRetirable }) => notRetirable === null, 'the directory to be signed again');
  const retired = await cli(lab, 'retire', '--yes');
  assert.equal(
    retired.signing.map(({ state }) => state),
    ['active'],
  );
  await allHold(devices, first.revision + 2);
  const [away] = devices as [TestDevice];
  await away.stop();
  await away.start();
  const given = await stop();
  assert.ok(given.length > 0);
  for (const id of given) {
    const { counts } = await lab.operator.command(id);
    assert.is(counts.succeeded, counts.total, JSON.stringify(counts));
  }
  assert.is(away.refusals.length, 0, away.refusals.join());
  const [other] = (await fleet(lab, 1)) as [TestDevice];
  const { id } = await lab.operator.send('statistics', [other]);
  assert.is((await lab.operator.finished(id)).counts.succeeded, 1);
});

testLab('K-3: the root moves into a file, and devices obey keys that only the file can sign', async (lab) => {
  const folder = mkdtempSync(join(tmpdir(), 'root-key-'));
  const key = join(folder, 'root.pem');
  const devices = await fleet(lab, 3);
  const before = await keysNow(lab);
  const replaced = await cli(lab, 'root', 'replace', '--key', key, '--yes');
  assert.is.not(replaced.fingerprint, before.fingerprint);
  assert.is(replaced.root.kept, 'elsewhere');
  assert.is(statSync(key).mode & 0o777, 0o600);
  const pending = await cli(lab, 'rotate');
  assert.ok(pending.pending);
  const signed = await cli(lab, 'root', 'sign', '--key', key);
  assert.is(signed.pending, null);
  assert.is(signed.revision, before.revision + 2);
  await allHold(devices, before.revision + 2);
  // A gateway knows the earlier fingerprint: its keys follow from that.
  for (const program of ['admin', 'gw1']) {
    await lab.deployment.end(program);
    await lab.deployment.start(program);
  }
  await waitFor(async () => (await keysNow(lab)).notRetirable === null, { timeoutMs: 60_000 });
  await cli(lab, 'retire', '--yes');
  await cli(lab, 'root', 'sign', '--key', key);
  await allHold(devices, before.revision + 3);
  const { id } = await lab.operator.send('statistics', devices);
  assert.is((await lab.operator.finished(id)).counts.succeeded, devices.length);
  rmSync(folder, { recursive: true, force: true });
});

test.run();
