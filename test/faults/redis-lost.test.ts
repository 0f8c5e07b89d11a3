import { test } from 'uvu';
import { withLab } from '../e2e/lab.ts';
import { FleetAtWork, step } from './fleet-at-work.ts';

const { testLab } = withLab({ bus: 'redis' });

testLab('Redis dies in the middle of 400 executions: nothing is lost and nothing runs twice', async (lab) => {
  const { redis } = lab.site;
  const fleet = await FleetAtWork.connect(lab, 400);

  step('started again with its data');
  let command = await fleet.underWay();
  await redis.kill();
  await redis.restart();
  await fleet.allSucceed(command);

  step('started again empty');
  command = await fleet.underWay();
  await redis.kill();
  await redis.restart({ empty: true });
  await fleet.allSucceed(command);

  step('away while a command is accepted, and started again empty');
  await redis.kill();
  command = await fleet.begin();
  await redis.restart({ empty: true });
  await fleet.allSucceed(command);

  step('killed with everything else but the devices, and started again empty');
  command = await fleet.underWay();
  await Promise.all([redis.kill(), ...lab.site.programs.map((name) => lab.site.kill(name))]);
  await redis.restart({ empty: true });
  for (const name of lab.site.programs) await lab.site.start(name);
  await fleet.allSucceed(command);
});

test.run();
