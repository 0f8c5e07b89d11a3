import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { DeviceView, GroupView } from '../../cli/api/views.ts';
import { Returns } from '../../cli/rehearsal/returns.ts';
import { run } from '../../cli/run.ts';
import { testShell } from '../cli/small-server.ts';
import { waitFor } from '../wait.ts';
import { type Lab, withLab } from './lab.ts';

const { testLab } = withLab({ bus: 'redis' });

function shellOf({ deployment }: Lab) {
  return testShell({ PUSHPOINT_SERVER: deployment.server, PUSHPOINT_TOKEN: deployment.token });
}

async function left(lab: Lab): Promise<string[]> {
  const { items } = await lab.operator.api.list<GroupView>('/v1/groups', {}, 1_000);
  const devices = await lab.operator.api.list<DeviceView>('/v1/devices', {}, 1_000);
  return [...items.map(({ id }) => id), ...devices.items.map(({ name }) => name)].filter((name) =>
    name.startsWith('rehearsal.'),
  );
}

testLab(
  'a rehearsal tells when simulated devices are back and working, and leaves real ones where they are',
  async (lab) => {
    const real = await lab.fleet(4);
    const before = real.map((device) => lab.operator.device(device));
    const places = (await Promise.all(before)).map(({ gateway, connectedAt }) => [gateway, connectedAt]);
    const shell = shellOf(lab);
    const code = await run(['rehearse', '--gateway', 'gw1', '--devices', '30', '--json'], shell);
    assert.is(code, 0, shell.err);
    const report = JSON.parse(shell.out);
    assert.equal([report.gateway, report.devices, report.missing, report.went], ['gw1', 30, 0, { gw2: 30 }]);
    for (const times of [report.back, report.working]) {
      assert.ok(times[50] <= times[90] && times[90] <= times[99] && times[99] <= times[100], shell.out);
    }
    assert.ok(report.working[100] >= report.back[50]);
    assert.equal(await left(lab), []);
    const after = await Promise.all(real.map((device) => lab.operator.device(device)));
    assert.equal(
      after.map(({ gateway, connectedAt }) => [gateway, connectedAt]),
      places,
    );
  },
);

testLab(
  'devices may take as long as --wait-timeout says; those that did not work by then are missing',
  async (lab) => {
    const shell = shellOf(lab);
    const args = ['--gateway', 'gw1', '--devices', '5', '--wait-timeout', '1ms', '--json'];
    assert.is(await run(['rehearse', ...args], shell), 6, shell.err);
    const report = JSON.parse(shell.out);
    assert.ok(report.missing > 0, shell.out);
    assert.is(report.working[100], null);
    assert.equal(await left(lab), []);
  },
);

testLab('a rehearsal that is interrupted cleans up; one that was killed is cleaned up after', async (lab) => {
  const shell = shellOf(lab);
  const running = run(['rehearse', '--gateway', 'gw1', '--devices', '200'], shell);
  await waitFor(async () => (await left(lab)).length > 5);
  shell.interrupt();
  assert.is(await running, 130);
  assert.equal(await left(lab), [], shell.err);

  await lab.operator.createGroup('rehearsal.lost');
  await lab.operator.enrolmentToken('rehearsal.lost', 1);
  const cleaning = shellOf(lab);
  assert.is(await run(['rehearse', '--clean'], cleaning), 0);
  assert.match(cleaning.out, 'Removed 1 groups with 0 devices.');
  assert.equal(await left(lab), []);
});

testLab(
  'a rehearsal that would push real devices out, or has nobody to go to, is refused before it begins',
  async (lab) => {
    const refused = async (...args: string[]) => {
      const shell = shellOf(lab);
      return [await run(['rehearse', ...args], shell), shell.err] as const;
    };
    const [unknown, why] = await refused('--gateway', 'nowhere', '--devices', '5');
    assert.is(unknown, 3);
    assert.match(why, 'There is no gateway nowhere.');
    await lab.operator.api.request('PATCH', '/v1/gateways/gw2', { body: { connectionLimit: 10 } });
    try {
      await waitFor(async () => {
        const { items } = await lab.operator.gateways();
        const load = items.find(({ name }) => name === 'gw2')?.load;
        return load?.limit === 10 && load.connections === 0;
      });
      const [full, room] = await refused('--gateway', 'gw1', '--devices', '50');
      assert.is(full, 3);
      assert.match(room, 'gw2: room for 10 more devices, 50 are asked for.');
    } finally {
      await lab.operator.api.request('PATCH', '/v1/gateways/gw2', { body: { connectionLimit: 50_000 } });
    }
    assert.equal(await left(lab), []);
  },
);

test('shares are of all devices, and one that was not reached has no time', () => {
  const returns = new Returns(10);
  for (let n = 0; n < 9; n++) returns.note(`d${n}`);
  returns.note('d0');
  const times = returns.times();
  assert.equal([returns.count, returns.complete, times[99], times[100]], [9, false, null, null]);
  assert.ok(times[50] !== null && times[90] !== null && times[50] <= times[90]);
});

test.run();
