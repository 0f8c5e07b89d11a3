import * as assert from 'uvu/assert';
import { Traffic } from '../../fleet/traffic.ts';
import { since, type World } from '../world.ts';

const DEVICES = 1_000;
const COMMANDS_PER_SECOND = 100;
const GROUP_SYNC_EVERY_MS = 3_000;

export async function rollingRestart(world: World): Promise<void> {
  const names = await world.gateways(5);
  const devices = await world.devices(world.share(DEVICES));
  const groups = world.wholeGroups();
  assert.ok(groups.length > 0, 'there are whole groups');
  const traffic = new Traffic(world.ledger, {
    perSecond: COMMANDS_PER_SECOND,
    devices: devices.map(({ id }) => id),
    groups,
    groupEveryMs: GROUP_SYNC_EVERY_MS,
    atOnce: 50,
  });
  try {
    for (const name of names) {
      const before = traffic.answered;
      await restart(world, name);
      assert.ok(traffic.answered > before, `commands were answered while ${name} restarted`);
    }
    await world.allConnected();
  } finally {
    const { commands, perSecond } = await traffic.stop();
    world.say(`${commands} commands meanwhile, ${perSecond.toFixed(0)} a second to single devices`);
  }
}

async function restart(world: World, name: string): Promise<void> {
  const began = performance.now();
  const had = world.fleet.count(name);
  const { code, signal } = await world.deployment.stopGateway(name);
  assert.equal([code, signal], [0, null], `${name} ended with ${signal ?? code}`);
  const stopped = since(began);
  const gone = () => world.fleet.count(name) === 0;
  await world.until(`the devices of ${name} to have noticed`, 60_000, gone);
  await world.allConnected();
  await world.deployment.start(name);
  await world.gatewayTells(name, 'is up', ({ state, applied, workers }) => {
    return state === 'up' && applied && workers.length === 2;
  });
  world.say(`${name} stopped in ${stopped} with ${had} devices, up again after ${since(began)}`);
}
