/** Programs that are none of the installation, and gateways that speak for others. */
import type { DeviceView } from '../../../cli/api/views.ts';
import { waitFor } from '../../wait.ts';
import type { Attack } from '../attack.ts';

const FOREIGN = 'gw9';

export const PROGRAMS: readonly Attack[] = [
  {
    name: 'foreign-gateway',
    by: 'redis',
    rules: 'S-9',
    title: 'a program that knows where Redis is registers as a gateway for everybody',
    async stage(world) {
      const { api } = world.lab.operator;
      const known = async () =>
        (await world.lab.operator.gateways()).items.some((row) => row.name === FOREIGN);
      const refused = () => world.adminMetric('pushpoint_bus_refused_total', 'kind="lease"');
      const before = await refused();
      return {
        async attack() {
          const address = 'ws://127.0.0.1:9';
          await world.redis.make(
            'register',
            {
              ...{ worker: `${FOREIGN}/0`, gateway: FOREIGN, host: 'attacker', pid: 1, version: '0.1.0' },
              initial: { group: 'all', runPushServer: true, port: 9, address, connectionLimit: 1_000_000 },
            },
            {
              ...{ connections: 0, limit: 1_000_000, admissionRate: 0, bufferedBytes: 0, memoryBytes: 1 },
              ...{ cpu: 0, port: 9, revision: 0 },
            },
          );
          await waitFor(async () => (await known()) || (await refused()) > before, {
            timeoutMs: 20_000,
            what: 'the server to look at the lease',
          });
        },
        control: () => world.reaches(world.bystander),
        async judge() {
          if (!(await known())) return null;
          await api.request('DELETE', `/v1/gateways/${FOREIGN}`).catch(() => undefined);
          return 'it is a gateway of the installation';
        },
      };
    },
  },
  {
    name: 'presence-theft',
    by: 'redis',
    rules: 'H-3',
    title: 'who writes to Redis reports that a device came to the stolen gateway',
    async stage(world) {
      const victim = await world.victim();
      const { session = 0 } = (victim.device.sdk.session ?? {}) as { session?: number };
      return {
        attack: () =>
          world.report(world.redis, [
            {
              ...{ kind: 'connected', device: victim.id, session: session + 1, incarnation: 'gw2~x' },
              ...{ worker: 'gw2/0', gateway: 'gw2', address: '127.0.0.1', software: 'x', caps: [] },
              ...{ membership: [1, 1], at: Date.now() },
            },
          ]),
        control: () => world.reaches(world.bystander),
        async judge() {
          const { gateway } = await world.lab.operator.api.get<DeviceView>(`/v1/devices/${victim.id}`);
          return gateway === 'gw2' ? 'the ledger has it at the stolen gateway' : null;
        },
      };
    },
  },
  {
    name: 'status-of-others',
    by: 'gateway',
    rules: 'B-1',
    title: 'a stolen gateway reports the compliance of a device that is with another',
    async stage(world) {
      const victim = await world.victim();
      return {
        attack: () =>
          world.report(world.gateway, [
            {
              kind: 'status',
              device: victim.id,
              compliance: 'compliant',
              policy: 'p-forged',
              at: Date.now(),
            },
          ]),
        control: () => world.reaches(world.bystander),
        async judge() {
          const view = await world.lab.operator.api.get<DeviceView>(`/v1/devices/${victim.id}`);
          return JSON.stringify(view).includes('p-forged') ? 'the ledger has the forged policy' : null;
        },
      };
    },
  },
];
