import * as assert from 'uvu/assert';
import type { Arrival, FleetMember } from '../../fleet/fleet.ts';
import { since, type World } from '../world.ts';

/** The tree, root first: group and parent. */
const GROUPS: readonly [id: string, parent: string][] = [
  ['emea', 'all'],
  ['berlin', 'emea'],
  ['paris', 'emea'],
  ['apac', 'all'],
  ['tokyo', 'apac'],
];
/** Which group each gateway serves, with its subgroups: scopes lie within each other. */
const SCOPES: Readonly<Record<string, string>> = {
  gw1: 'emea',
  gw2: 'berlin',
  gw3: 'apac',
  gw4: 'all',
  gw5: 'tokyo',
};
const DEVICES: Readonly<Record<string, number>> = {
  all: 50,
  emea: 100,
  berlin: 300,
  paris: 200,
  apac: 50,
  tokyo: 300,
};
const MOVED = 100;

export async function groupScopes(world: World): Promise<void> {
  const names = await world.gateways(5);
  await world.devices(0);
  for (const [id, parent] of GROUPS) await world.group(id, parent);
  await setScopes(world, SCOPES);
  const judge = new ScopeJudge(world);
  try {
    const members = new Map<string, FleetMember[]>();
    for (const [group, count] of Object.entries(DEVICES)) members.set(group, await world.enrol(count, group));
    const all = [...members.values()].flat();
    // As devices are: they measure how far gateways are before they choose.
    await world.fleet.start(all, { probing: true });
    await world.allConnected();
    judge.everywhere(all);
    world.say(`${all.length} devices in ${members.size} groups, each in scope: ${countsOf(world, names)}`);
    await movedDevicesMove(world, judge, members.get('berlin') ?? []);
    await movedScopeMovesDevices(world, judge, all);
    judge.everywhere(all);
    assert.equal(judge.strays, []);
    world.say(`${judge.judged} arrivals, every one in scope`);
  } finally {
    judge.stop();
    await setScopes(world, Object.fromEntries(names.map((name) => [name, 'all'])));
  }
}

async function setScopes(world: World, scopes: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, groupId] of Object.entries(scopes)) await world.change(name, { groupId });
  for (const name of Object.keys(scopes))
    await world.gatewayTells(name, 'has its scope', ({ applied }) => applied);
}

async function movedDevicesMove(
  world: World,
  judge: ScopeJudge,
  berlin: readonly FleetMember[],
): Promise<void> {
  const moved = berlin.slice(0, MOVED);
  const began = performance.now();
  for (const member of moved) {
    judge.deviceMoves(member, 'tokyo');
    await world.deployment.api.request('PATCH', `/v1/devices/${member.id}`, { body: { groupId: 'tokyo' } });
  }
  const outside = () => moved.filter((member) => !judge.inScope(member));
  await world.until(
    'moved devices to be in scope',
    20_000,
    () => outside().length === 0,
    () => `${outside().length} of ${moved.length} devices out of scope`,
  );
  judge.settled();
  await world.allConnected();
  const { id } = await world.ledger.send('sync', {
    group: 'tokyo',
    devices: judge.groupOf('tokyo').map((member) => member.id),
  });
  world.say(`${moved.length} devices moved from berlin to tokyo: all in scope after ${since(began)}`);
  await world.until('the sync of tokyo to end', 20_000, async () => {
    const counts = await world.ledger.counts(id);
    return counts.total > 0 && counts.succeeded === counts.total;
  });
}

/** The gateway of berlin serves paris from now on. */
async function movedScopeMovesDevices(
  world: World,
  judge: ScopeJudge,
  all: readonly FleetMember[],
): Promise<void> {
  const had = world.fleet.count('gw2');
  const began = performance.now();
  judge.gatewayMoves('gw2', 'paris');
  await world.change('gw2', { groupId: 'paris' });
  await world.until('devices to be in scope again', 20_000, () =>
    all.every((member) => judge.inScope(member)),
  );
  await world.gatewayTells('gw2', 'has its scope', ({ applied }) => applied);
  judge.settled();
  await world.allConnected();
  world.say(`gw2 serves paris and not berlin: its ${had} devices are in scope after ${since(began)}`);
}

function countsOf(world: World, names: readonly string[]): string {
  return names.map((name) => `${SCOPES[name]} ${world.fleet.count(name)}`).join(', ');
}

/**
 * Judges every arrival by the groups as they are. While a device or a gateway moves, what was right before is
 * right as well.
 */
class ScopeJudge {
  readonly strays: string[] = [];
  judged = 0;
  readonly #world: World;
  readonly #parents = new Map<string, string>(GROUPS);
  readonly #scopes = new Map(Object.entries(SCOPES));
  readonly #groups = new Map<string, string>();
  readonly #scopesBefore = new Map<string, string>();
  readonly #groupsBefore = new Map<string, string>();

  constructor(world: World) {
    this.#world = world;
    world.fleet.onArrival = (member, arrival) => this.#judge(member, arrival);
  }

  stop(): void {
    this.#world.fleet.onArrival = () => {};
  }

  deviceMoves(member: FleetMember, group: string): void {
    this.#groupsBefore.set(member.id, this.#group(member));
    this.#groups.set(member.id, group);
  }

  gatewayMoves(name: string, group: string): void {
    this.#scopesBefore.set(name, this.#scopes.get(name) ?? '');
    this.#scopes.set(name, group);
  }

  /** What was right before is wrong from now on. */
  settled(): void {
    this.#groupsBefore.clear();
    this.#scopesBefore.clear();
  }

  groupOf(id: string): FleetMember[] {
    return [...this.#world.fleet.members.values()].filter((member) => this.#group(member) === id);
  }

  inScope(member: FleetMember): boolean {
    return member.where !== null && this.#holds(this.#scopes.get(member.where.gateway), this.#group(member));
  }

  everywhere(members: readonly FleetMember[]): void {
    const outside = members.filter((member) => !this.inScope(member));
    assert.is(outside.length, 0, `${outside.length} devices are out of scope`);
  }

  #judge(member: FleetMember, { gateway }: Arrival): void {
    this.judged++;
    const groups = [this.#group(member), this.#groupsBefore.get(member.id)];
    const scopes = [this.#scopes.get(gateway), this.#scopesBefore.get(gateway)];
    if (scopes.some((scope) => groups.some((group) => this.#holds(scope, group)))) return;
    this.strays.push(`${member.id} of ${groups[0]} on ${gateway}, which serves ${scopes[0]}`);
  }

  #group(member: FleetMember): string {
    return this.#groups.get(member.id) ?? member.group;
  }

  #holds(scope: string | undefined, group: string | undefined): boolean {
    for (let each = group; each !== undefined; each = this.#parents.get(each))
      if (each === scope) return true;
    return scope === 'all' && group !== undefined;
  }
}
