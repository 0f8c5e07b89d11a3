import { connect } from 'node:net';
import * as assert from 'uvu/assert';
import type { FleetMember } from '../../fleet/fleet.ts';
import { Traffic } from '../../fleet/traffic.ts';
import { freePort } from '../../wait.ts';
import { since, type World } from '../world.ts';

const DEVICES = 4_000;
const MOVING = 1_000;
const COMMANDS_PER_SECOND = 30;

export async function liveSettings(world: World): Promise<void> {
  const names = await world.gateways(5);
  const devices = await world.devices(world.share(DEVICES));
  // A gateway that has just returned still gets its share back.
  await world.spreadHolds(names);
  const name = fullest(world, names);
  const traffic = new Traffic(world.ledger, {
    perSecond: COMMANDS_PER_SECOND,
    devices: devices.map(({ id }) => id),
  });
  try {
    await changesPort(world, name);
    await offAndOn(world, name, names);
  } finally {
    const { commands } = await traffic.stop();
    world.say(`${commands} commands meanwhile`);
  }
}

/** With so many devices one of the gateways has a quarter at least. */
function fullest(world: World, names: readonly string[]): string {
  const [name = ''] = [...names].sort((a, b) => world.fleet.count(b) - world.fleet.count(a));
  assert.ok(world.fleet.count(name) >= world.share(MOVING), `${name} has ${world.fleet.count(name)} devices`);
  return name;
}

async function changesPort(world: World, name: string): Promise<void> {
  const { port: before, address } = await world.gateway(name);
  const had = world.fleet.on(name);
  const port = await freePort();
  const began = performance.now();
  const changed = await world.change(name, { port });
  assert.is(changed.address, address.replace(`:${before}`, `:${port}`), 'the address follows the port');
  // The new port serves before anybody has to leave the old one.
  await world.until('the new port to answer', 10_000, () => accepts(port));
  // A device that is due at another gateway for the sake of the spread may go there meanwhile.
  const awaited = ({ where }: FleetMember) =>
    where === null || (where.gateway === name && where.port !== port);
  await world
    .until(
      'nobody to be on the old port',
      40_000,
      () => !had.some(awaited),
      () => `${had.filter(awaited).length} of ${had.length} not on the new port yet`,
    )
    .catch((error: Error) => {
      throw new Error(`${error.message}${world.fleet.endingsOf(had.filter(awaited))}`, { cause: error });
    });
  const arrived = had.filter(({ where }) => where?.gateway === name).length;
  assert.ok(arrived >= had.length * 0.75, `${arrived} of ${had.length} stayed with ${name}`);
  await world.gatewayTells(name, 'is settled on the new port', ({ state, applied, leaving, workers }) => {
    return state === 'up' && applied && !leaving && workers.every((worker) => worker.port === port);
  });
  await world.allConnected();
  const old = world.fleet.connected.filter(({ where }) => where?.port === before);
  assert.is(old.length, 0, 'devices on the old port');
  assert.ok(await accepts(before), 'the old port stays open, to send devices on');
  await world.deployment.api.request('DELETE', `/v1/gateways/${name}/former-ports`);
  await world.until(
    'the old port to be closed once it is released',
    10_000,
    async () => !(await accepts(before)),
  );
  world.say(`${arrived} of ${had.length} devices of ${name} on its new port in ${since(began)}`);
}

async function offAndOn(world: World, name: string, names: readonly string[]): Promise<void> {
  const had = world.fleet.count(name);
  let began = performance.now();
  await world.change(name, { runPushServer: false });
  await world.gatewayTells(
    name,
    'is off',
    ({ state, connections }) => state === 'off' && connections === 0,
    30_000,
  );
  await world.allConnected();
  assert.is(world.fleet.count(name), 0);
  world.say(`${name} switched off: its ${had} devices are elsewhere in ${since(began)}`);
  began = performance.now();
  await world.change(name, { runPushServer: true });
  await world.gatewayTells(name, 'is up', ({ state, applied }) => state === 'up' && applied);
  await world.spreadHolds(names, 60_000);
  await world.allConnected();
  world.say(`${name} switched on: ${world.fleet.count(name)} devices are back in ${since(began)}`);
}

/** Whether somebody listens there. */
function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
