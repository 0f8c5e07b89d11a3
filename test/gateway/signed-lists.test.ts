/** The signed lists of gateways that a gateway carries to its devices. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { CLOSE } from '../../protocol/index.ts';
import { waitFor } from '../wait.ts';
import {
  connectDevice,
  directoryList,
  listIn,
  makeIdentity,
  prove,
  RawDevice as Raw,
  type RawDevice,
} from './raw-device.ts';
import { BRANCH, ROOT, withRig } from './rig.ts';

const GW1 = { name: 'gw1', url: 'ws://gw1.example.net' };
const GW2 = { name: 'gw2', url: 'ws://gw2.example.net' };

/** Whatever the gateway sends without being asked has come. */
async function heardAll(device: RawDevice) {
  device.send({ t: 'beat' });
  await device.take('beat');
  return device.received.map(({ t }) => t);
}

test('G-18: a device with an older list gets the one of its group, after welcome and membership', () =>
  withRig({ settings: {} }, async (rig) => {
    await rig.putLists({ [ROOT]: [GW1], [BRANCH]: [GW1, GW2] }, 7);
    const identity = await rig.enrol([ROOT, BRANCH], { membershipEdition: [1, 2] });
    const { device } = await connectDevice(rig.url, identity, { membership: [1, 1], gateways: [1, 6] });
    assert.is(listIn(await device.take('order')), null, 'the membership comes first');
    const list = listIn(await device.take('order'));
    assert.equal([list?.target, list?.revision, list?.gateways], [{ group: BRANCH }, 7, [GW1, GW2]]);
    assert.equal(await heardAll(device), []);
    for (const held of [
      [1, 7],
      [2, 1],
    ] as const) {
      const current = await connectDevice(rig.url, await rig.enrol(), { gateways: held });
      assert.equal(await heardAll(current.device), []);
    }
  }));

test('G-18: a newer list goes to the connected devices of its group, before the names', () =>
  withRig({ settings: {} }, async (rig) => {
    await rig.putLists({ [ROOT]: [GW1], [BRANCH]: [GW1] }, 1);
    const outside = await connectDevice(rig.url, await rig.enrol([ROOT]));
    const inside = await connectDevice(rig.url, await rig.enrol([ROOT, BRANCH]));
    const { directory } = rig.bus.inner;
    await directory.putLists([directoryList(BRANCH, [GW1, GW2], [1, 2])]);
    await directory.markLists('1.2', new Set([ROOT, BRANCH]));
    await rig.putGateway({ name: 'gw2', group: BRANCH, address: GW2.url });
    const { gateways } = await inside.device.take('update');
    assert.equal([...gateways].sort(), ['gw1', 'gw2']);
    assert.equal(inside.device.heard.slice(-2), ['order', 'update']);
    assert.equal(listIn(await inside.device.take('order'))?.gateways, [GW1, GW2]);
    assert.equal(await heardAll(outside.device), []);
  }));

test('G-18: a list that was missing is read once there is another device of its group', () =>
  withRig({ settings: {} }, async (rig) => {
    await rig.putLists({ [ROOT]: [GW1] });
    const held = { gateways: [0, 0] as const };
    const first = await connectDevice(rig.url, await rig.enrol([ROOT, BRANCH]), held);
    assert.equal(await heardAll(first.device), []);
    await rig.bus.inner.directory.putLists([directoryList(BRANCH, [GW1], [1, 1])]);
    const { device } = await connectDevice(rig.url, await rig.enrol([ROOT, BRANCH]), held);
    assert.equal(listIn(await device.take('order'))?.gateways, [GW1]);
  }));

test('G-18: the gateway carries no list that is older, for another group, or not signed by the server', () =>
  withRig({ settings: {} }, async (rig) => {
    await rig.putLists({ [ROOT]: [GW1] }, 5);
    const { device } = await connectDevice(rig.url, await rig.enrol());
    const { directory } = rig.bus.inner;
    const replace = async (list: { frame: Uint8Array }, mark: string) => {
      await directory.putLists([{ group: ROOT, frame: list.frame }]);
      await directory.markLists(mark, new Set([ROOT]));
    };
    const forged = directoryList(ROOT, [GW2], [1, 9], makeIdentity('thief').privateKey);
    await replace(forged, 'forged');
    await waitFor(async () => (await rig.load()).warnings?.join().includes(`group ${ROOT}`));
    for (const [bad, mark] of [
      [directoryList(ROOT, [GW2], [1, 4]), 'older'],
      [directoryList(BRANCH, [GW2], [1, 9]), 'of another group'],
      [{ frame: Uint8Array.of(0xc1) }, 'nonsense'],
    ] as const) {
      await replace(bad, mark);
      const { device: other } = await connectDevice(rig.url, await rig.enrol(), { gateways: [0, 0] });
      assert.equal(listIn(await other.take('order'))?.gateways, [GW1], mark);
    }
    await directory.markLists('lost', new Set());
    const { device: late } = await connectDevice(rig.url, await rig.enrol(), { gateways: [0, 0] });
    assert.equal(listIn(await late.take('order'))?.gateways, [GW1], 'a loss is no reason to forget it');
    assert.equal(await heardAll(device), []);
    await rig.putLists({ [ROOT]: [GW2] }, 6);
    assert.equal(listIn(await device.take('order'))?.gateways, [GW2]);
    await waitFor(async () => !(await rig.load()).warnings?.join().includes('list of gateways'));
  }));

test('H-10: a device of another group gets its membership and list, and then where to go', () =>
  withRig({ settings: { group: BRANCH } }, async (rig) => {
    await rig.putLists({ [ROOT]: [GW2] }, 3);
    await rig.putGateway({ name: 'gw2', group: ROOT, address: GW2.url });
    const identity = await rig.enrol([ROOT], { membershipEdition: [1, 4] });
    const device = new Raw(rig.url);
    await prove(device, identity, { membership: [1, 1], gateways: [1, 2], keys: [0, 0] });
    assert.is((await device.closed()).code, CLOSE.outOfScope);
    assert.equal(device.heard, ['challenge', 'keys', 'order', 'order', 'redirect']);
    assert.is(listIn(await device.take('order')), null);
    assert.equal(listIn(await device.take('order'))?.gateways, [GW2]);
    assert.equal((await device.take('redirect')).to, ['gw2']);
    const stranger = new Raw(rig.url);
    await prove(stranger, { ...makeIdentity(identity.id), id: identity.id }, { gateways: [0, 0] });
    assert.is((await stranger.closed()).code, CLOSE.badProof);
    assert.equal(stranger.heard, ['challenge'], 'who does not prove its key learns nothing');
  }));

test('G-18: a device that is moved while it is connected gets the lists of its new group from then on', () =>
  withRig({ settings: {} }, async (rig) => {
    await rig.putLists({ [ROOT]: [GW1], [BRANCH]: [GW1] }, 1);
    const identity = await rig.enrol([ROOT]);
    const { device } = await connectDevice(rig.url, identity);
    const frame = directoryList(BRANCH, [GW1], [1, 1]).frame;
    await rig.bus.outboxes.append(await rig.incarnation(), [
      { devices: [identity.id], frame, groups: [ROOT, BRANCH] },
    ]);
    await device.take('order');
    await rig.putLists({ [ROOT]: [GW2], [BRANCH]: [GW1, GW2] }, 2);
    assert.equal(listIn(await device.take('order'))?.target, { group: BRANCH });
    assert.equal(await heardAll(device), []);
  }));

test.run();
