import { connect, type Socket } from 'node:net';
import * as assert from 'uvu/assert';
import type { DeviceView } from '../../../cli/api/views.ts';
import type { FleetMember } from '../../fleet/fleet.ts';
import { cpuShare, limitDescriptors, descriptorLimit as limitOf, openDescriptors } from '../processes.ts';
import { percent, type World } from '../world.ts';

const DEVICES = 1_000;
const NAME = 'gw4';
/** Devices the worker has room for, and newcomers to its gateway: more than its part of them. */
const ROOM = 30;
const NEWCOMERS = 150;
const AT_ONCE = 10;
/** Connections that never ask for anything; the worker must not be driven to the limit by them either. */
const SILENT = 100;
/** The gateway's share of descriptors at which a worker is full. */
const FULL = 0.9;
const MEASURED_MS = 2_000;
const MOST_CPU = 0.5;

export async function descriptorLimit(world: World): Promise<void> {
  await world.gateways(5);
  await world.devices(world.share(DEVICES));
  const { workers, address } = await world.gateway(NAME);
  const [held] = workers;
  if (!held || workers.length < 2) throw new Error(`${NAME} has no two workers`);
  const usual = await limitOf(held.pid);
  const limit = Math.floor(((await openDescriptors(held.pid)) + ROOM) / FULL);
  await limitDescriptors(held.pid, limit);
  const strangers: Socket[] = [];
  try {
    // It looks at its limit once a second; nobody lowers it under a running worker otherwise.
    await world.gatewayTells(NAME, `${held.worker} knows its limit`, ({ workers }) => {
      return workers.some((each) => each.worker === held.worker && each.limit < limit);
    });
    const newcomers = await world.enrol(NEWCOMERS, 'all');
    // A few at a time: those whose connection a worker had taken when it was found full are sent elsewhere.
    for (let n = 0; n < newcomers.length; n += AT_ONCE) {
      await world.fleet.start(newcomers.slice(n, n + AT_ONCE), { home: { name: NAME, url: address } });
    }
    // At once: the balancer soon moves devices off this gateway, which has more than its part now.
    await world.gatewayTells(NAME, `${held.worker} listens no more`, ({ workers }) => {
      return workers.some((each) => each.worker === held.worker && each.port === undefined);
    });
    for (let n = 0; n < SILENT; n++) strangers.push(stranger(new URL(address)));
    await doesNotSpin(world, held.pid, limit);
    for (const socket of strangers) socket.destroy();
    await fills(world, held.worker, newcomers);
    await returns(world, held.worker);
    await world.fleet.stop(newcomers);
  } finally {
    for (const socket of strangers) socket.destroy();
    await limitDescriptors(held.pid, usual);
  }
  await world.allConnected();
}

/** The worker takes what it has room for, and its sibling everybody else. */
async function fills(world: World, worker: string, newcomers: readonly FleetMember[]): Promise<void> {
  await world.allConnected();
  const { workers, state, port } = await world.gateway(NAME);
  const siblings = workers.filter((each) => each.worker !== worker);
  assert.ok(siblings.every((each) => each.port === port) && siblings.length > 0, 'the sibling listens');
  assert.is(state, 'up');
  const came = newcomers.filter(({ arrivals }) => arrivals[0]?.gateway === NAME).length;
  world.say(
    `${worker} listened no more: ${came} of ${newcomers.length} newcomers came in at ${NAME} all the same`,
  );
  // Those whose connection the worker had taken when it was found full were told of other gateways.
  assert.ok(came >= newcomers.length * 0.75, `${came} of ${newcomers.length} newcomers came in at ${NAME}`);
}

async function doesNotSpin(world: World, pid: number, limit: number): Promise<void> {
  const share = await cpuShare(pid, MEASURED_MS);
  const open = await openDescriptors(pid);
  world.say(`${open} of ${limit} descriptors open, ${percent(share)} of a core`);
  assert.ok(share < MOST_CPU, `it uses ${percent(share)} of a core with nothing to do`);
  assert.ok(open < limit, 'it has reached its limit');
}

/** When enough of its devices have left, it listens again, and newcomers reach it. */
async function returns(world: World, worker: string): Promise<void> {
  const own = await devicesOf(world, worker);
  const leaving = own.slice(0, Math.ceil(own.length * 0.3));
  await world.fleet.stop(leaving);
  const { address } = await world.gatewayTells(NAME, `${worker} listens again`, ({ workers }) => {
    return workers.some((each) => each.worker === worker && each.port !== undefined);
  });
  await world.fleet.start(leaving, { home: { name: NAME, url: address } });
  await world.allConnected();
  let back = 0;
  await world.until(`${worker} to take newcomers`, 20_000, async () => {
    back = (await devicesOf(world, worker)).filter((member) => leaving.includes(member)).length;
    return back > 0;
  });
  world.say(
    `${worker} listened again when ${leaving.length} of ${own.length} devices had left; ${back} came ` +
      'back to it',
  );
}

async function devicesOf(world: World, worker: string): Promise<FleetMember[]> {
  const { items } = await world.deployment.api.list<DeviceView>(
    '/v1/devices',
    { gateway: NAME, state: 'connected' },
    10_000,
  );
  return items
    .filter((device) => device.worker === worker)
    .map(({ id }) => world.fleet.members.get(id))
    .filter((member) => member !== undefined);
}

/** Opens a connection and says nothing. */
function stranger({ hostname, port }: URL): Socket {
  const socket = connect(Number(port), hostname);
  // Refused or cut, as it may be.
  socket.on('error', () => {});
  return socket;
}
