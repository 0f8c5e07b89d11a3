import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { CommandView } from '../../cli/operator/views.ts';
import { type TestDevice, workFor } from '../e2e/fleet.ts';
import { allConnected, type Lab, withLab } from '../e2e/lab.ts';
import { waitFor } from '../wait.ts';

const FLEET = 1_000;
const { testLab } = withLab({ bus: 'redis' });

/** 1,000 executions, and their middle. */
async function underWay(lab: Lab, devices: readonly TestDevice[]): Promise<CommandView> {
  const command = await lab.operator.send('task.start', devices, { all: true });
  await middleOf(command, devices);
  return command;
}

async function middleOf({ id }: CommandView, devices: readonly TestDevice[]): Promise<void> {
  await waitFor(() => devices.filter((device) => device.completed(id) === 1).length >= FLEET * 0.25, {
    timeoutMs: 30_000,
    what: 'a quarter to be done',
  });
}

async function allSucceed(lab: Lab, { id }: CommandView, devices: readonly TestDevice[]): Promise<void> {
  assert.is((await lab.operator.finished(id, 90_000)).counts.succeeded, FLEET);
  await allConnected(devices);
  await lab.operator.connected(FLEET);
  await lab.reconcile();
}

// One after the other on the same fleet: enrolling a thousand devices takes longer than most of it.
testLab(
  'in the middle of 1,000 executions nothing is lost and nothing runs twice, whichever part dies',
  async (lab) => {
    const devices = await lab.fleet(FLEET, { work: workFor(200, 3_000) });
    const step = (text: string) => console.log(`  ${text}`);

    step('kill -9 of the administration server');
    let command = await underWay(lab, devices);
    await lab.site.kill('admin');
    await waitFor(
      () => devices.filter((device) => device.completed(command.id) === 1).length >= FLEET * 0.75,
      {
        timeoutMs: 30_000,
        what: 'the devices to go on meanwhile',
      },
    );
    await lab.site.start('admin');
    await allSucceed(lab, command, devices);

    step('kill -9 of the administration server right after the answer');
    command = await lab.operator.send('task.start', devices, { all: true });
    await lab.site.kill('admin');
    await lab.site.start('admin');
    await allSucceed(lab, command, devices);

    step('kill -9 of one of two gateways');
    command = await underWay(lab, devices);
    const moving = devices.filter(({ gateway }) => gateway === 'gw1');
    assert.ok(moving.length > 0 && moving.length < FLEET, `${moving.length} on gw1`);
    await lab.site.kill('gw1');
    await allSucceed(lab, command, devices);
    assert.ok(devices.every(({ gateway }) => gateway === 'gw2'));
    await lab.site.start('gw1');
    await lab.gatewaysUp();

    step('kill -9 of Redis, started again with its data');
    command = await underWay(lab, devices);
    await lab.site.redis.kill();
    await lab.site.redis.restart();
    await allSucceed(lab, command, devices);

    step('kill -9 of Redis, started again empty');
    command = await underWay(lab, devices);
    await lab.site.redis.kill();
    await lab.site.redis.restart({ empty: true });
    await allSucceed(lab, command, devices);

    step('Redis is away while a command is accepted, and comes back empty');
    await lab.site.redis.kill();
    command = await lab.operator.send('task.start', devices, { all: true });
    await lab.site.redis.restart({ empty: true });
    await allSucceed(lab, command, devices);

    step('kill -9 of all of it at once, Redis with its data lost');
    command = await underWay(lab, devices);
    await Promise.all([lab.site.redis.kill(), ...lab.site.programs.map((name) => lab.site.kill(name))]);
    await lab.site.redis.restart({ empty: true });
    for (const name of lab.site.programs) await lab.site.start(name);
    await allSucceed(lab, command, devices);
  },
);

test.run();
