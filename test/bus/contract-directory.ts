import * as assert from 'uvu/assert';
import { DirectoryIncomplete } from '../../bus/bus.ts';
import { waitFor } from '../wait.ts';
import { claim, writeDirectory } from '../write-directory.ts';
import type { Rule } from './bus-under-test.ts';
import { rejectsWith } from './expect.ts';
import { device, gateway, LONG_MS, numbers, plain } from './samples.ts';

export function directoryRules(rule: Rule): void {
  rule('until it was marked as whole, the directory says nothing about any device', async (bus) => {
    const { directory } = bus;
    await claim(bus);
    assert.is((await directory.look()).generation, null);
    await rejectsWith(directory.devices(['d1']), DirectoryIncomplete);
    await directory.putDevices([device('d1')]);
    await rejectsWith(directory.devices(['d1']), DirectoryIncomplete);
    const writing = await directory.begin();
    await writing?.put([device('d1')]);
    await rejectsWith(directory.devices(['d1']), DirectoryIncomplete);
    assert.is((await directory.look()).writing, true);
    const generation = (await writing?.finish()) as string;
    await directory.vouch(generation, LONG_MS);
    assert.equal(await directory.look(), { generation, devices: 1, writing: false });
    assert.equal(plain(await directory.devices(['d1', 'd2'])), plain([device('d1'), null]));
    const next = await writeDirectory(bus);
    assert.is.not(next, generation);
    assert.equal(await directory.look(), { generation: next, devices: 0, writing: false });
  });

  rule('hundreds of devices are put, looked up in order, changed and removed', async (bus) => {
    const { directory } = bus;
    await writeDirectory(bus);
    const ids = numbers(1, 500).map((number) => `device-${number}`);
    await directory.putDevices(ids.map((id) => device(id)));
    await directory.putDevices([{ ...device('device-3', 2), state: 'blocked' as const, groups: [] }]);
    await directory.removeDevices(['device-1', 'device-2', 'never-was']);
    const found = await directory.devices([...ids, 'device-500']);
    assert.equal(found.slice(0, 2), [null, null]);
    assert.equal(plain(found[2]), plain({ ...device('device-3', 2), state: 'blocked' as const, groups: [] }));
    assert.equal(
      found.slice(3).map((entry) => entry?.id),
      [...ids.slice(3), 'device-500'],
    );
    const { generation, devices } = await directory.look();
    assert.is(devices, ids.length - 2);
    assert.ok(generation);
  });

  rule('while the directory is rewritten, the old one stays, and changes go into both', async (bus) => {
    const { directory } = bus;
    const before = await writeDirectory(bus, [device('stays'), device('goes'), device('changes')]);
    const writing = await directory.begin();
    await writing?.put([device('stays', 2), device('removed'), device('changes')]);
    await directory.putDevices([device('changes', 7), device('new')]);
    await directory.removeDevices(['removed']);
    assert.is((await directory.look()).generation, before);
    const now = ['stays', 'goes', 'changes', 'new', 'removed'];
    assert.equal((await directory.devices(now)).map((entry) => entry?.membershipEdition[1]).slice(1), [
      1,
      7,
      1,
      undefined,
    ]);
    const generation = (await writing?.finish()) as string;
    await directory.vouch(generation, LONG_MS);
    assert.equal(
      (await directory.devices(now)).map((entry) => entry?.membershipEdition[1]),
      [2, undefined, 7, 1, undefined],
    );
    assert.equal(await directory.look(), { generation, devices: 3, writing: false });
  });

  rule('gateways are put, changed and removed', async (bus) => {
    const { directory } = bus;
    await claim(bus);
    await directory.putGateways([gateway('gw1'), gateway('gw2')]);
    await directory.putGateways([{ ...gateway('gw2', 2), runPushServer: false }]);
    const listed = (await directory.gateways()).sort((a, b) => a.name.localeCompare(b.name));
    assert.equal(listed, [gateway('gw1'), { ...gateway('gw2', 2), runPushServer: false }]);
    await directory.removeGateway('gw1');
    await directory.removeGateway('gw1');
    assert.equal(
      (await directory.gateways()).map(({ name }) => name),
      ['gw2'],
    );
    await directory.setGateways([gateway('gw3')]);
    assert.equal(await directory.gateways(), [gateway('gw3')]);
  });

  rule('a change of the gateways or lists is hinted until stopped', async (bus) => {
    const { directory } = bus;
    await claim(bus);
    let [first, second] = [0, 0];
    const stop = await directory.onGatewaysChange(() => {
      first += 1;
    });
    await directory.onGatewaysChange(() => {
      second += 1;
    });
    await directory.putGateways([gateway('gw1')]);
    await waitFor(() => first > 0 && second > 0, { what: 'the hint after a put' });
    const marked = first;
    await directory.markLists('1.1', new Set());
    await waitFor(() => first > marked, { what: 'the hint after a mark' });
    await stop();
    const [before, beforeSecond] = [first, second];
    await directory.removeGateway('gw1');
    await waitFor(() => second > beforeSecond, { what: 'the hint after a removal' });
    assert.is(first, before);
  });

  rule('lists are put, changed and read by group, and only those that are marked stay', async (bus) => {
    const { directory } = bus;
    await claim(bus);
    const list = (group: string, ...bytes: number[]) => ({ group, frame: Uint8Array.from(bytes) });
    assert.is(await directory.listsMark(), null);
    assert.equal(await directory.lists(['root']), [null]);
    await directory.putLists([list('root', 1), list('branch', 0xc1, 0xff), list('gone', 3)]);
    assert.is(await directory.listsMark(), null);
    await directory.markLists('1.1', new Set(['root', 'branch']));
    await directory.putLists([list('root', 4)]);
    assert.is(await directory.listsMark(), '1.1');
    assert.equal(
      plain(await directory.lists(['branch', 'gone', 'root'])),
      plain([list('branch', 0xc1, 0xff), null, list('root', 4)]),
    );
    const many = numbers(1, 1_500).map((number) => `group-${number}`);
    await directory.putLists(many.map((group) => list(group, 5)));
    await directory.markLists('1.2', new Set(many));
    assert.is((await directory.lists(many)).filter((each) => each?.frame[0] === 5).length, many.length);
    assert.equal(await directory.lists(['root']), [null]);
    await directory.markLists('1.3', new Set());
    assert.equal([await directory.listsMark(), ...(await directory.lists(['group-1']))], ['1.3', null]);
  });

  rule('nothing put and nothing asked is fine', async (bus) => {
    const { directory } = bus;
    await writeDirectory(bus);
    await directory.putDevices([]);
    await directory.removeDevices([]);
    await directory.putGateways([]);
    await directory.putLists([]);
    assert.equal(await directory.lists([]), []);
    assert.equal(await directory.devices([]), []);
    assert.equal(await directory.gateways(), []);
  });
}
