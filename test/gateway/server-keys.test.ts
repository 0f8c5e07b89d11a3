import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { decodeServerKeys, type Edition, type SignedServerKeys } from '../../protocol/index.ts';
import { newKeyPair, signedKeys } from '../server-keys.ts';
import { waitFor } from '../wait.ts';
import { connectDevice, directoryDevice, prove, RawDevice, ROOT_KEY, SERVER_KEYS } from './raw-device.ts';
import { type Rig, ROOT, withRig } from './rig.ts';

const next = newKeyPair().publicKey;
const signing = [...decodeServerKeys(SERVER_KEYS.body).signing, next];
const second = signedKeys(ROOT_KEY, [1, 2], signing);

async function carried(rig: Rig, edition: Edition): Promise<void> {
  await waitFor(async () => (await rig.load()).keys?.join() === edition.join(), { what: `keys ${edition}` });
}

function bodies(device: RawDevice): SignedServerKeys[] {
  return device.received.flatMap((message) => (message.t === 'keys' ? [message] : []));
}

test('K-5: a device with older server keys gets them before welcome, and one with the newest does not', () =>
  withRig({ keys: [second] }, async (rig) => {
    await carried(rig, [1, 2]);
    const identity = await rig.enrol();
    for (const [keys, expected] of [
      [
        [1, 1],
        ['challenge', 'keys', 'welcome'],
      ],
      [
        [0, 0],
        ['challenge', 'keys', 'welcome'],
      ],
      [
        [1, 2],
        ['challenge', 'welcome'],
      ],
      [
        [2, 1],
        ['challenge', 'welcome'],
      ],
    ] as [Edition, string[]][]) {
      const { device } = await connectDevice(rig.url, identity, { keys });
      assert.equal(device.heard, expected, String(keys));
      const [sent] = bodies(device);
      if (sent) assert.equal(sent.body, second.body);
    }
  }));

test('K-5: connected devices get newer server keys, and then the worker says that they have them', () =>
  withRig({}, async (rig) => {
    const { device } = await connectDevice(rig.url, await rig.enrol());
    await carried(rig, [1, 1]);
    assert.equal(bodies(device), []);
    await rig.putKeys([second]);
    assert.equal((await device.take('keys')).body, second.body);
    await carried(rig, [1, 2]);
    await rig.putKeys([SERVER_KEYS]);
    await rig.putKeys([second]);
    assert.equal(bodies(device), []);
  }));

test('K-5: a device that is told that it was blocked gets the keys first that say who tells it', () =>
  withRig({ keys: [second] }, async (rig) => {
    await carried(rig, [1, 2]);
    const identity = await rig.enrol([ROOT], { state: 'blocked' });
    const device = new RawDevice(rig.url);
    await prove(device, identity, { keys: [1, 1], membership: [0, 0] });
    await device.closed();
    assert.equal(device.heard, ['challenge', 'keys', 'order']);
  }));

test('K-5: documents of earlier roots come first, for each to be checked by the one before', async () => {
  const nextRoot = newKeyPair();
  const third = signedKeys(nextRoot, [1, 3], signing, ROOT_KEY);
  const fourth = signedKeys(nextRoot, [1, 4], signing);
  await withRig({ keys: [second, third, fourth] }, async (rig) => {
    await carried(rig, [1, 4]);
    const identity = await rig.enrol();
    const sentTo = async (keys: Edition) =>
      bodies((await connectDevice(rig.url, identity, { keys })).device).map(({ body }) => body);
    assert.equal(await sentTo([1, 1]), [second.body, third.body, fourth.body]);
    assert.equal(await sentTo([1, 3]), [fourth.body]);
  });
});

test('K-3: a gateway carries what follows from its fingerprint, and nothing older than it had', async () => {
  const stranger = newKeyPair();
  await withRig({}, async (rig) => {
    const { device } = await connectDevice(rig.url, await rig.enrol());
    await carried(rig, [1, 1]);
    const badly = { ...signedKeys(ROOT_KEY, [1, 7], [stranger.publicKey]), sig: new Uint8Array(64) };
    const lists = [
      [signedKeys(stranger, [9, 9], [next])],
      [SERVER_KEYS, signedKeys(stranger, [1, 8], [next], stranger)],
      [badly],
      [{ body: new Uint8Array(3), sig: new Uint8Array(64) }],
      [],
    ];
    for (const list of lists) await rig.putKeys(list);
    await rig.putKeys([second]);
    await carried(rig, [1, 2]);
    assert.equal(
      bodies(device).map(({ body }) => body),
      [second.body],
    );
    await rig.putKeys([SERVER_KEYS]);
    const other = await connectDevice(rig.url, await rig.enrol(), { keys: [0, 0] });
    assert.equal(
      bodies(other.device).map(({ body }) => body),
      [second.body],
    );
  });
});

test('H-3: a membership counts that a signing key of the newest server keys made, and no other', () =>
  withRig({}, async (rig) => {
    const identity = await rig.enrol();
    await connectDevice(rig.url, identity);
    await rig.putKeys([signedKeys(ROOT_KEY, [1, 2], [next])]);
    await carried(rig, [1, 2]);
    await rig.bus.directory.putDevices([directoryDevice(identity, [ROOT])]);
    const device = new RawDevice(rig.url);
    await prove(device, identity);
    await device.closed();
    assert.is(device.closing?.code, 4201);
  }));

test.run();
