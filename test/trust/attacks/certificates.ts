/** Gateways that write to Redis with a certificate that is good no more, or that of another one. */
import type { Receipt, WorkerIdentity, WorkerLoad } from '../../../bus/bus.ts';
import { incarnationOf } from '../../../bus/credentials.ts';
import type { DeviceView } from '../../../cli/api/views.ts';
import { waitFor } from '../../wait.ts';
import type { Attack } from '../attack.ts';
import type { Attacker } from '../attackers/attacker.ts';
import type { Victim } from '../victim.ts';
import type { World } from '../world.ts';
import { EXPIRED, expired, REVOKED, revoked } from './joins.ts';

const HOUR_MS = 3_600_000;
const FOREIGN = 'gw9';
const ADDRESS = 'ws://127.0.0.1:9';

function worker(gateway: string, group = 'all'): WorkerIdentity {
  const initial = { group, runPushServer: true, port: 9, address: ADDRESS, connectionLimit: 1_000_000 };
  return { worker: `${gateway}/0`, gateway, host: 'attacker', pid: 1, version: '0.1.0', initial };
}

const LOAD: WorkerLoad = {
  ...{ connections: 0, limit: 1_000_000, admissionRate: 0, bufferedBytes: 0, memoryBytes: 1 },
  ...{ cpu: 0, port: 9, revision: 0 },
};

/** A gateway with a group of its own, whose files were stolen, holds a lease. */
export async function serving(world: World, name: string, group: string) {
  const { lab } = world;
  const { attacker } = await world.stolenAfterJoining(name);
  const body = { name, address: ADDRESS, groupId: await lab.group(group) };
  await lab.operator.api.request('POST', '/v1/gateways', { body });
  return { attacker, incarnation: await attacker.make('register', worker(name, group), LOAD) };
}

/** That the device has a session at this gateway now. */
export function cameTo(gateway: string, { id: device }: { id: string }, more: object = {}): Receipt {
  const at = Date.now();
  return {
    ...{ kind: 'connected', device, session: at * 1_000, incarnation: incarnationOf(gateway, 'x') },
    ...{ worker: `${gateway}/0`, gateway, address: '127.0.0.1', software: 'x', caps: [] },
    ...{ membership: [1, 1], at, ...more },
  };
}

export async function viewOf({ lab }: World, { id }: Victim): Promise<DeviceView> {
  return lab.operator.api.get<DeviceView>(`/v1/devices/${id}`);
}

/** Somebody takes a lease for a worker of this gateway. */
export function registering(
  { name, by, title }: Pick<Attack, 'name' | 'by' | 'title'>,
  gateway: string,
  attackerOf: (world: World) => Promise<Attacker>,
): Attack {
  return {
    ...{ name, by, rules: 'S-9', title },
    async stage(world) {
      const { operator } = world.lab;
      const attacker = await attackerOf(world);
      const isUp = async () =>
        (await operator.gateways()).items.some((row) => row.name === gateway && row.workers.length > 0);
      const refused = () => world.adminMetric('pushpoint_bus_refused_total', 'kind="lease"');
      const before = await refused();
      let incarnation = '';
      return {
        async attack() {
          incarnation = await attacker.make('register', worker(gateway), LOAD);
          // Where the certificate is over, the server ends the lease without further ado.
          const isGone = async () => !(await world.hasLease(incarnation));
          await waitFor(async () => (await isUp()) || (await refused()) > before || (await isGone()), {
            timeoutMs: 20_000,
            what: 'the server to look at the lease',
          });
        },
        control: () => world.reaches(world.bystander),
        async judge() {
          const success = (await isUp()) ? 'it is a gateway of the installation' : null;
          await attacker.make('unregister', incarnation);
          return success;
        },
      };
    },
  };
}

/** Somebody reports that a device came to this gateway. */
function claiming(
  { name, title }: Pick<Attack, 'name' | 'title'>,
  own: string,
  attackerOf: (world: World) => Promise<Attacker>,
  report = (world: World, attacker: Attacker, receipt: Receipt) => world.report(attacker, [receipt]),
): Attack {
  return {
    ...{ name, by: 'gateway', rules: 'S-9', title },
    async stage(world) {
      const attacker = await attackerOf(world);
      const settings = { name: own, address: ADDRESS };
      const { api } = world.lab.operator;
      await api.request('POST', '/v1/gateways', { body: settings });
      const victim = await world.victim();
      return {
        attack: () => report(world, attacker, cameTo(own, victim)),
        control: () => world.reaches(world.bystander),
        async judge() {
          const { gateway } = await viewOf(world, victim);
          await api.request('DELETE', `/v1/gateways/${own}`);
          return gateway === own ? 'the ledger has the device at that gateway' : null;
        },
      };
    },
  };
}

export const CERTIFICATES: readonly Attack[] = [
  registering(
    {
      name: 'foreign-gateway',
      by: 'redis',
      title: 'a program that knows where Redis is registers as a gateway for everybody',
    },
    FOREIGN,
    async ({ redis }) => redis,
  ),
  registering(
    {
      name: 'gateway-of-another-name',
      by: 'gateway',
      title: 'a stolen gateway registers under another name as well',
    },
    FOREIGN,
    async ({ gateway }) => gateway,
  ),
  registering(
    { name: 'revoked-registers', by: 'gateway', title: 'a gateway that was revoked takes a lease' },
    REVOKED,
    revoked,
  ),
  registering(
    { name: 'expired-registers', by: 'gateway', title: 'a gateway whose certificate ran out takes a lease' },
    EXPIRED,
    expired,
  ),
  claiming(
    { name: 'revoked-claims', title: 'a gateway that was revoked reports that a device came to it' },
    REVOKED,
    revoked,
  ),
  claiming(
    {
      name: 'revoked-claims-late',
      title: 'a gateway that was revoked reports the same as if Redis had taken it an hour ago',
    },
    REVOKED,
    revoked,
    (world, attacker, receipt) => world.reportLate(attacker, [receipt], HOUR_MS),
  ),
  claiming(
    { name: 'expired-claims', title: 'a gateway whose certificate ran out reports that a device came to it' },
    EXPIRED,
    expired,
  ),
];
