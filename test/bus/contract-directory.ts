import * as assert from 'uvu/assert';
import { DirectoryIncomplete } from '../../bus/bus.ts';
import { waitFor } from '../wait.ts';
import type { Rule } from './bus-under-test.ts';
import { rejectsWith } from './expect.ts';
import { device, gateway, numbers, plain } from './samples.ts';

export function directoryRules(rule: Rule): void {
  rule('until it was marked as whole, the directory says nothing about any device', async ({ directory }) => {
    assert.is(await directory.epoch(), null);
    await rejectsWith(directory.devices(['d1']), DirectoryIncomplete);
    await directory.putDevices([device('d1')]);
    await rejectsWith(directory.devices(['d1']), DirectoryIncomplete);
    await directory.setEpoch('1');
    assert.is(await directory.epoch(), '1');
    assert.equal(plain(await directory.devices(['d1', 'd2'])), plain([device('d1'), null]));
    await directory.setEpoch('2');
    assert.is(await directory.epoch(), '2');
  });

  rule('hundreds of devices are put, looked up in order, changed and removed', async ({ directory }) => {
    await directory.setEpoch('1');
    const ids = numbers(1, 500).map((number) => `device-${number}`);
    await directory.putDevices(ids.map((id) => device(id)));
    await directory.putDevices([{ ...device('device-3', 2), blocked: true, groups: [] }]);
    await directory.removeDevices(['device-1', 'device-2', 'never-was']);
    const found = await directory.devices([...ids, 'device-500']);
    assert.equal(found.slice(0, 2), [null, null]);
    assert.equal(plain(found[2]), plain({ ...device('device-3', 2), blocked: true, groups: [] }));
    assert.equal(
      found.slice(3).map((entry) => entry?.id),
      [...ids.slice(3), 'device-500'],
    );
  });

  rule('gateways are put, changed and removed', async ({ directory }) => {
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
  });

  rule('a change of the gateways is hinted until stopped', async ({ directory }) => {
    let [first, second] = [0, 0];
    const stop = await directory.onGatewaysChange(() => {
      first += 1;
    });
    await directory.onGatewaysChange(() => {
      second += 1;
    });
    await directory.putGateways([gateway('gw1')]);
    await waitFor(() => first > 0 && second > 0, { what: 'the hint after a put' });
    await stop();
    const [before, beforeSecond] = [first, second];
    await directory.removeGateway('gw1');
    await waitFor(() => second > beforeSecond, { what: 'the hint after a removal' });
    assert.is(first, before);
  });

  rule('nothing put and nothing asked is fine', async ({ directory }) => {
    await directory.setEpoch('1');
    await directory.putDevices([]);
    await directory.removeDevices([]);
    await directory.putGateways([]);
    assert.equal(await directory.devices([]), []);
    assert.equal(await directory.gateways(), []);
  });
}
