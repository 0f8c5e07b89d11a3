import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { withLab } from '../e2e/lab.ts';
import { FleetAtWork, step } from './fleet-at-work.ts';

const { testLab } = withLab({ bus: 'redis' });

// One after the other on the same fleet: enrolling a thousand devices takes longer than most of it.
testLab(
  'kill -9 of a program in the middle of 1,000 executions loses nothing and runs nothing twice',
  async (lab) => {
    const fleet = await FleetAtWork.connect(lab, 1_000);

    step('the administration server, started again once the devices have gone on without it');
    let command = await fleet.underWay();
    await lab.site.kill('admin');
    await fleet.done(command, 0.75);
    await lab.site.start('admin');
    await fleet.allSucceed(command);

    step('the administration server, right after its answer');
    command = await fleet.begin();
    await lab.site.kill('admin');
    await lab.site.start('admin');
    await fleet.allSucceed(command);

    step('one of two gateways; its devices move to the other');
    command = await fleet.underWay();
    const moving = fleet.devices.filter(({ gateway }) => gateway === 'gw1').length;
    assert.ok(moving > 0 && moving < 1_000, `${moving} on gw1`);
    await lab.site.kill('gw1');
    await fleet.allSucceed(command);
    assert.ok(fleet.devices.every(({ gateway }) => gateway === 'gw2'));
  },
);

test.run();
