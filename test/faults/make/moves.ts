/** Gateways that operators change while devices are on them. */
import { createServer } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { freePort } from '../../wait.ts';
import type { Fault, Times } from '../fault.ts';
import type { World } from '../world.ts';

interface Place {
  port: number;
  address: string;
}

async function placeOf(world: World, name: string): Promise<Place> {
  const { port, address } = await world.api.get<Place>(`/v1/gateways/${name}`);
  return { port, address };
}

function change(world: World, name: string, body: Partial<Place>): Promise<unknown> {
  return world.api.request('PATCH', `/v1/gateways/${name}`, { body });
}

/** One drained, taken back, and the other at a new port, all within seconds. */
export function movedAround(times: Times): Fault {
  let old: Place | undefined;
  return {
    name: 'gw1 drained and taken back, and gw2 at another port',
    to: 'gw2',
    async begin(world) {
      old = await placeOf(world, 'gw2');
      await world.api.request('POST', '/v1/gateways/gw1/drain', { body: {} });
      await pause(3_000);
      await world.api.request('DELETE', '/v1/gateways/gw1/drain');
      const port = await freePort();
      await change(world, 'gw2', { port, address: `ws://127.0.0.1:${port}` });
    },
    async end(world) {
      if (old) await change(world, 'gw2', old);
    },
    holdMs: times.slow,
    survivable: true,
  };
}

/** An operator sets a port that somebody else has, devices come and go meanwhile, and it is corrected. */
export function portOccupied(times: Times): Fault {
  let old: Place | undefined;
  const stranger = createServer((socket) => socket.destroy());
  return {
    name: 'gw2 at a port that is occupied',
    to: 'gw2',
    async begin(world) {
      old = await placeOf(world, 'gw2');
      const port = await freePort();
      await new Promise<void>((resolve) => stranger.listen(port, '127.0.0.1', resolve));
      await change(world, 'gw2', { port, address: `ws://127.0.0.1:${port}` });
    },
    async end(world) {
      if (old) await change(world, 'gw2', old);
      stranger.close();
    },
    holdMs: times.slow,
    // Whoever comes now has to find the gateway where it still listens.
    survivable: true,
  };
}
