/**
 * Everything that programs and devices trust changes while devices stay and commands flow: certificates, the
 * authority, the signing keys, a gateway that is revoked, and at last the database, back to before all that.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import type { AuthorityView, ServerKeysView } from '../../../cli/api/views.ts';
import type { FleetMember } from '../../fleet/fleet.ts';
import { Traffic } from '../../fleet/traffic.ts';
import { since, type World } from '../world.ts';

const DEVICES = 1_000;
const REVOKED = 'gw3';
const GROUP_SYNC_EVERY_MS = 8_000;
/** In a second: each device gets one every 25 s. */
const COMMANDS_PER_DEVICE = 0.04;
const STEP_MS = 60_000;

interface Certificate {
  serial: string;
  issuedAt: string;
}

export async function trustChanges(world: World): Promise<void> {
  const names = await world.gateways(3);
  const devices = await world.devices(world.share(DEVICES));
  const { deployment } = world;
  const backup = join(deployment.folder, 'before-changes');
  await deployment.backUp(backup);

  await underTraffic(world, devices, async () => {
    await stay(world, devices, () => Promise.all([authorityRotated(world, names), keysChanged(world)]));
    await gatewayRevoked(world);
    await joinsAgain(world);
  });
  // What was given since the backup is judged now: the ledger that is put back does not know it.
  await world.ledger.reconcile();
  await world.fleet.settle(devices);

  const certificates = await newest(world, names);
  await stay(world, devices, () => deployment.databaseRestored(backup));
  await underTraffic(world, devices, async () => {
    await world.until('gateways to have renewed', STEP_MS, async () => {
      const now = await newest(world, names);
      return names.every((name) => now.get(name) !== certificates.get(name));
    });
    await world.allConnected();
  });
  await world.ledger.reconcile();
  await nobodyForged(world);
}

/** Commands flow from before it begins until after it ends, and each of them is answered. */
async function underTraffic(
  world: World,
  devices: readonly FleetMember[],
  work: () => Promise<unknown>,
): Promise<void> {
  const groups = world.wholeGroups();
  const traffic = new Traffic(world.ledger, {
    perSecond: devices.length * COMMANDS_PER_DEVICE,
    devices: devices.map(({ id }) => id),
    ...(groups.length > 0 && { groups, groupEveryMs: GROUP_SYNC_EVERY_MS }),
    atOnce: 50,
  });
  try {
    const answeredMore = async () => {
      const before = traffic.answered;
      await world.until('commands to be answered', STEP_MS, () => traffic.answered > before + 10);
    };
    await answeredMore();
    await work();
    await answeredMore();
  } finally {
    const { commands } = await traffic.stop();
    world.say(`${commands} commands meanwhile`);
  }
}

/** No device loses its connection meanwhile, but to be moved by balancing. */
async function stay(
  world: World,
  devices: readonly FleetMember[],
  work: () => Promise<unknown>,
): Promise<void> {
  const ends = new Map(devices.map((device) => [device, device.endings.at(-1)]));
  await work();
  const lost = devices
    .filter((device) => device.endings.at(-1) !== ends.get(device))
    .map(({ id, endings }) => `${id}: ${endings.at(-1)}`)
    .filter((ending) => !/: (40\d\d |1000 redirected)/.test(ending));
  assert.is(lost.length, 0, `devices that lost their connection: ${lost.slice(0, 5).join('; ')}`);
  await world.allConnected();
}

async function authorityRotated(world: World, names: readonly string[]): Promise<void> {
  const began = performance.now();
  const { api } = world.deployment;
  const before = await incarnations(world, names);
  for (const step of ['rotate', 'advance', 'advance']) {
    await api.request('POST', `/v1/authority/${step}`, {});
    await world.until(`gateways to have taken up ${step}`, STEP_MS, async () => {
      return (await api.get<AuthorityView>('/v1/authority')).waitingFor.length === 0;
    });
  }
  const { phase, authorities } = await api.get<AuthorityView>('/v1/authority');
  assert.equal([phase, authorities.length], ['steady', 1]);
  assert.equal(await incarnations(world, names), before, 'no worker lost its lease');
  world.say(`authority rotated in ${since(began)}`);
}

async function incarnations(world: World, names: readonly string[]): Promise<string[]> {
  const views = await Promise.all(names.map((name) => world.gateway(name)));
  return views.flatMap(({ workers }) => workers.map(({ incarnation }) => incarnation)).sort();
}

async function keysChanged(world: World): Promise<void> {
  const began = performance.now();
  const { api } = world.deployment;
  await api.request('POST', '/v1/keys/rotation', {});
  await world.until('the earlier signing key to be retirable', STEP_MS, async () => {
    return (await api.get<ServerKeysView>('/v1/keys')).notRetirable === null;
  });
  const { signing } = await api.request<ServerKeysView>('POST', '/v1/keys/retirement', {});
  assert.is(signing.length, 1);
  world.say(`signing key changed in ${since(began)}`);
}

async function gatewayRevoked(world: World): Promise<void> {
  const began = performance.now();
  const { deployment, fleet } = world;
  const had = fleet.count(REVOKED);
  await deployment.api.request('POST', `/v1/gateways/${REVOKED}/revoke`, {});
  const { code } = await deployment.program(REVOKED).exited;
  assert.is(code, 3, 'a revoked gateway ends by itself');
  await world.allConnected();
  assert.is(fleet.count(REVOKED), 0);
  world.say(`${REVOKED} revoked, its ${had} devices elsewhere after ${since(began)}`);
}

async function joinsAgain(world: World): Promise<void> {
  const { deployment } = world;
  await rm(join(deployment.folder, 'data', 'join-tokens', REVOKED));
  await deployment.start(REVOKED);
  await world.gatewayTells(REVOKED, 'is up again', ({ state }) => state === 'up');
}

/** The serial of the newest certificate of each gateway. */
async function newest(world: World, names: readonly string[]): Promise<Map<string, string>> {
  const entries = names.map(async (name): Promise<[string, string]> => {
    const path = `/v1/gateways/${name}/certificates`;
    const { items } = await world.deployment.api.get<{ items: Certificate[] }>(path);
    return [name, items[0]?.serial ?? ''];
  });
  return new Map(await Promise.all(entries));
}

/** Nothing of all that looked as if somebody else had written it. */
async function nobodyForged({ deployment }: World): Promise<void> {
  const metrics = await fetch(`${deployment.server}/metrics`).then((response) => response.text());
  const refused = metrics.split('\n').filter((line) => line.startsWith('pushpoint_bus_refused_total'));
  assert.ok(refused.length > 0);
  assert.equal(
    refused.filter((line) => !line.endsWith(' 0')),
    [],
  );
}
