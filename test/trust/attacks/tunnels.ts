/** Tunnels read on their way, and entered by who has no key. */
import { createHash, randomBytes } from 'node:crypto';
import { type AddressInfo, createServer, type Server } from 'node:net';
import type { Delivery } from '../../../bus/bus.ts';
import { incarnationOf } from '../../../bus/credentials.ts';
import type { OpenedTunnelView, TunnelView } from '../../../cli/api/views.ts';
import { tcpTunnels } from '../../../device/index.ts';
import { waitFor } from '../../wait.ts';
import type { Attack } from '../attack.ts';
import { type Entered, type Entry, enterTunnel } from '../enter-tunnel.ts';
import { recorded } from '../recorded.ts';
import type { Success } from '../success.ts';
import type { Victim } from '../victim.ts';
import type { World } from '../world.ts';

const SECRET = 'what only the operator may read';
const TARGET_HOST = '127.0.0.1';

/** Behind the device: says its secret to whoever comes. */
class Service {
  readonly #server: Server;
  visitors = 0;

  constructor() {
    this.#server = createServer((socket) => {
      this.visitors++;
      socket.on('error', () => {});
      socket.end(SECRET);
    });
    this.#server.unref();
  }

  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, TARGET_HOST, resolve));
    return (this.#server.address() as AddressInfo).port;
  }
}

async function behind(world: World): Promise<{ service: Service; victim: Victim; port: number }> {
  const service = new Service();
  const port = await service.listen();
  return { service, victim: await world.victim({ tunnels: tcpTunnels({ allow: [port] }) }), port };
}

const tunnelOf = ({ lab }: World, id: string) => lab.operator.api.get<TunnelView>(`/v1/tunnels/${id}`);

/** What the operator who opens a tunnel to the port gets; the device is in it. */
async function openTunnel(world: World, victim: Victim, port: number): Promise<Entry> {
  const { lab } = world;
  const body = { deviceId: victim.id, port };
  const { tunnel, join } = await lab.operator.api.request<OpenedTunnelView>('POST', '/v1/tunnels', { body });
  if (!join) throw new Error(`no tunnel: ${tunnel.end?.reason}`);
  const { gateway, worker, ticket, key } = join;
  await waitFor(async () => (await tunnelOf(world, tunnel.id)).deviceHere, {
    what: 'the device to join the tunnel',
  });
  const target = { host: tunnel.host, port: tunnel.port };
  return { tunnel: tunnel.id, gateway, worker, ticket, key: Buffer.from(key ?? '', 'base64url'), target };
}

async function hears(entry: Entry): Promise<void> {
  const { heard, why } = await enterTunnel(entry);
  if (heard !== SECRET) throw new Error(`the operator's own tunnel: ${why}`);
}

export const TUNNELS: readonly Attack[] = [
  {
    name: 'tunnel-read',
    by: 'gateway',
    rules: 'T-14',
    title: 'a stolen gateway reads what passes through it in a tunnel',
    async stage(world) {
      const { victim, port } = await behind(world);
      const entry = await openTunnel(world, victim, port);
      const tapped = await world.gateway.make('tap', Number(new URL(entry.gateway.url).port));
      const gateway = { ...entry.gateway, url: `ws://127.0.0.1:${tapped}/` };
      return {
        attack: () => hears({ ...entry, gateway }),
        async control() {
          const bytes = await world.gateway.make('tappedBytes');
          if (bytes < SECRET.length) throw new Error(`only ${bytes} bytes passed`);
        },
        async judge(): Promise<Success> {
          return (await world.gateway.make('tapped', SECRET)) ? 'the gateway read it' : null;
        },
      };
    },
  },
  granted(
    {
      name: 'tunnel-entered',
      rules: 'T-14',
      title: 'who writes to Redis grants itself the place of the operator, and speaks to the port',
    },
    ({ heard }, visitors) => {
      if (heard !== null) return 'the attacker read what the port says';
      return visitors > 1 ? 'the attacker reached the port' : null;
    },
  ),
  granted(
    {
      name: 'tunnel-place-granted',
      rules: 'T-3',
      title: 'who writes to Redis grants itself the place of the operator in a tunnel',
    },
    ({ joined }) => (joined ? 'the gateway gave the attacker a place' : null),
  ),
  {
    name: 'tunnel-ended-by-another',
    by: 'gateway',
    rules: 'T-13',
    title: 'a stolen gateway reports that a tunnel at another gateway has ended',
    async stage(world) {
      const { victim, port } = await behind(world);
      const { tunnel } = await openTunnel(world, victim, port);
      const incarnation = incarnationOf('gw2', 'x');
      const figures = { bytesUp: 0, bytesDown: 0, streams: 0 };
      const about = { tunnel, device: victim.id, incarnation, at: Date.now(), ...figures };
      return {
        attack: () =>
          world.report(world.gateway, [{ kind: 'tunnel', event: 'ended', reason: 'says it', ...about }]),
        control: () => world.reaches(world.bystander),
        async judge() {
          const { state, end } = await tunnelOf(world, tunnel);
          return state === 'ended' ? `the tunnel has ended: ${end?.reason}` : null;
        },
      };
    },
  },
  {
    name: 'replayed-grant',
    by: 'redis',
    rules: 'T-3',
    title: 'who once had the ticket of a tunnel repeats its grant in Redis after the end of the tunnel',
    async stage(world) {
      const { victim, port } = await behind(world);
      const opening = () => openTunnel(world, victim, port);
      const grants = ({ tunnel }: Delivery) => tunnel !== undefined;
      const { result: entry, repeat } = await recorded(world, opening, grants);
      const { api } = world.lab.operator;
      await api.request('POST', `/v1/tunnels/${entry.tunnel}/close`, { body: {} });
      await waitFor(async () => (await tunnelOf(world, entry.tunnel)).state === 'ended', {
        what: 'the end of the tunnel',
      });
      let entered: Entered = { joined: false, heard: null, why: '' };
      return {
        async attack() {
          await repeat();
          entered = await world.redis.make('enter', entry);
        },
        control: async () => hears(await openTunnel(world, victim, port)),
        judge: async () => (entered.joined ? 'the gateway gave the attacker a place' : null),
      };
    },
  },
];

/** The attacker grants itself the operator's place in an open tunnel, and comes with no key. */
function granted(
  { name, rules, title }: Pick<Attack, 'name' | 'rules' | 'title'>,
  judge: (entered: Entered, visitors: number) => Success,
): Attack {
  return {
    ...{ name, by: 'redis', rules, title },
    async stage(world) {
      const { service, victim, port } = await behind(world);
      const { tunnel: id, key: _, ...entry } = await openTunnel(world, victim, port);
      const ticket = randomBytes(32).toString('base64url');
      const hash = (text: string) => new Uint8Array(createHash('sha256').update(text).digest());
      let entered: Entered = { joined: false, heard: null, why: '' };
      return {
        async attack() {
          await world.grant(world.redis, `gw1/${entry.worker}`, {
            ...{ id, device: victim.id, ...entry.target, joinBy: Date.now() + 60_000 },
            ...{ deviceHash: hash('nobody'), operatorHash: hash(ticket) },
            ...{ idleMs: 60_000, lifeMs: 60_000, maxBytes: 0 },
          });
          const key = new Uint8Array(randomBytes(32));
          entered = await world.redis.make('enter', { ...entry, tunnel: id, ticket, key });
        },
        control: async () => hears(await openTunnel(world, victim, port)),
        judge: async () => judge(entered, service.visitors),
      };
    },
  };
}
