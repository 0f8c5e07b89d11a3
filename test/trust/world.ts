/**
 * A deployment of real programs, its devices and its operator, and three attackers: one may write to Redis,
 * one has the files of gateway `gw2` and listens at its address, one sits on the way to the administration
 * server.
 */
import { join } from 'node:path';
import type { OrderSigner } from '../../admin-api/order-signer.ts';
import type { Delivery, Receipt, TunnelGrant, WorkerIdentity } from '../../bus/bus.ts';
import { decode, encode } from '../../bus/encoding.ts';
import { keysWith } from '../../bus/redis/keys.ts';
import {
  type CommandOrder,
  decodeOrderBody,
  type GatewayAddress,
  type GatewaysOrder,
  type SignedPass,
} from '../../protocol/index.ts';
import type { TestDevice, TestDeviceOptions } from '../e2e/fleet.ts';
import { Lab } from '../e2e/lab.ts';
import { Wire } from '../e2e/wire.ts';
import { Attacker } from './attackers/attacker.ts';
import type { Script } from './attackers/stolen-address.ts';
import { Database } from './database.ts';
import { gatewayEntry } from './directory-entries.ts';
import { type Joined, joinGateway, joinToken } from './joining.ts';
import { Victim } from './victim.ts';

const KEYS = keysWith('pp', false);
const STOLEN = 'gw2';

interface Parts {
  lab: Lab;
  bystander: Victim;
  redis: Attacker;
  gateway: Attacker;
  network: Attacker;
  installation: string;
  addresses: Record<'gw1' | 'gw2', GatewayAddress>;
}

export class World {
  readonly lab: Lab;
  /** May read and write Redis, and has nothing else. */
  readonly redis: Attacker;
  /** Has all that `gw2` had, and its address. */
  readonly gateway: Attacker;
  /** Sits on the way to the administration server, or knows where gateways are. */
  readonly network: Attacker;
  readonly installation: string;
  readonly addresses: Parts['addresses'];
  /** An honest device that nobody attacks. */
  readonly bystander: Victim;
  readonly database: Database;
  readonly #deleted: TestDevice[] = [];
  readonly #others: Attacker[] = [];
  readonly #made = new Map<string, Promise<Attacker>>();

  private constructor({ lab, bystander, redis, gateway, network, installation, addresses }: Parts) {
    this.lab = lab;
    this.bystander = bystander;
    this.redis = redis;
    this.gateway = gateway;
    this.network = network;
    this.installation = installation;
    this.addresses = addresses;
    this.database = new Database(join(lab.deployment.folder, 'data'));
  }

  static async start(): Promise<World> {
    const lab = await Lab.start({ bus: 'redis', gateways: 2 });
    const { items } = await lab.operator.gateways();
    const addressOf = (name: string) => ({
      name,
      url: `${items.find((row) => row.name === name)?.address}/`,
    });
    const addresses = { gw1: addressOf('gw1'), gw2: addressOf(STOLEN) };
    // Its machine serves the attacker from now on.
    await lab.deployment.end(STOLEN);
    const redisUrl = lab.deployment.redis.url;
    const redis = new Attacker({ redisUrl });
    const installation = String(await redis.make('redis', 'HGET', KEYS.installation, 'id'));
    const port = Number(new URL(addresses.gw2.url).port);
    const folder = lab.deployment.identityFolder(STOLEN);
    const gateway = new Attacker({ redisUrl, gateway: { name: STOLEN, port, installation, folder } });
    const network = new Attacker({ server: lab.deployment.server });
    const bystander = new Victim(await lab.device({ probing: false }));
    // It stays when the victims go.
    lab.devices.length = 0;
    return new World({ lab, bystander, redis, gateway, network, installation, addresses });
  }

  async stop(): Promise<void> {
    await this.between();
    this.redis.stop();
    this.gateway.stop();
    this.network.stop();
    for (const attacker of this.#others) attacker.stop();
    await this.bystander.device.stop();
    await this.lab.stop();
  }

  /** An attack is over: its victims go. */
  async between(): Promise<void> {
    await Promise.all(this.#deleted.splice(0).map((device) => device.stop()));
    await this.lab.dismiss();
    await Promise.all(this.#others.map((attacker) => attacker.rest()));
    await this.gateway.rest();
    await this.network.rest();
    await this.lab.tidy();
  }

  /* ---- honest parties ---- */

  /** A device at the honest gateway. */
  async victim(options: Partial<TestDeviceOptions> = {}): Promise<Victim> {
    const wire = new Wire();
    const victim = new Victim(await this.lab.device({ wire, probing: false, ...options }), wire);
    victim.watch();
    return victim;
  }

  /** A device that is not started yet. */
  async absent(options: Partial<TestDeviceOptions> = {}): Promise<Victim> {
    const wire = new Wire();
    const [device] = await this.lab.enrolled(1, { wire, probing: false, ...options });
    return new Victim(device as TestDevice, wire);
  }

  /** The same, and its last session was at the stolen gateway: it dials that first. */
  async captive(options: Partial<TestDeviceOptions> = {}): Promise<Victim> {
    const victim = await this.absent(options);
    await this.#lure(victim);
    return victim;
  }

  /** A device that was at the honest gateway goes to the stolen one at its next start. */
  async #lure(victim: Victim): Promise<void> {
    const { device } = victim;
    await device.stop();
    victim.forgive();
    const { state } = await device.store.load();
    const { gw1, gw2 } = this.addresses;
    await device.store.saveState({ ...state, gateways: [gw2, gw1], home: gw2.url });
  }

  /** The attacker serves devices by this script, and the victim comes, wherever it was. */
  async fallsInto(script: Script, victim: Victim): Promise<void> {
    if (victim.device.running) await this.#lure(victim);
    await this.plays(script);
    await victim.device.start();
    victim.watch();
  }

  /** The attacker serves devices by another script from now on; who is there has to come again. */
  async plays(script: Script): Promise<void> {
    const pass = await this.passOf(STOLEN);
    // Its genuine pass, unless the script says otherwise: without one devices leave.
    await this.gateway.make('listen', { ...script, welcome: { pass, ...script.welcome } });
  }

  /** URL of the attacker who sits on the way to the administration server. */
  onTheWay(): Promise<string> {
    return this.network.make('waylay');
  }

  /** What several attacks share, made by the first of them. */
  once(name: string, make: () => Promise<Attacker>): Promise<Attacker> {
    const made = this.#made.get(name) ?? make();
    this.#made.set(name, made);
    return made;
  }

  /** A gateway joined under this name, and its files were stolen afterwards. */
  async stolenAfterJoining(name: string): Promise<{ attacker: Attacker; joined: Joined }> {
    const joined = await joinGateway(this.lab, name, await joinToken(this.lab, name));
    const { installation } = this;
    const gateway = { name, port: 0, installation, folder: joined.folder };
    const attacker = new Attacker({ redisUrl: this.lab.deployment.redis.url, gateway });
    this.#others.push(attacker);
    return { attacker, joined };
  }

  /** An operator deletes it. */
  async delete({ id, device }: Victim): Promise<void> {
    await this.lab.operator.api.request('DELETE', `/v1/devices/${id}`);
    this.lab.devices.splice(this.lab.devices.indexOf(device), 1);
    this.#deleted.push(device);
  }

  /** A command of an honest operator. */
  async commandTo(victim: Victim): Promise<string> {
    return (await this.lab.operator.send('sync', [victim.device])).id;
  }

  /** It reaches the device and is done: the control of most attacks. */
  async reaches(victim: Victim): Promise<void> {
    await this.lab.operator.reaches(await this.commandTo(victim), victim.device, 'succeeded');
  }

  /** A genuine command that the attacker may withhold, deliver or repeat. */
  async orderFor(victim: Victim, id: string, more: Partial<CommandOrder> = {}): Promise<Uint8Array> {
    const times = { issuedAt: Date.now(), expiresAt: Date.now() + 60_000, timeoutMs: 60_000 };
    const target = { device: victim.id };
    const signer = await this.signer();
    return signer.frame({ kind: 'command', id, type: 'sync', args: null, target, ...times, ...more });
  }

  /** The list of gateways that a device holds. */
  async listOf({ device }: Victim): Promise<GatewaysOrder> {
    const { state } = await device.store.load();
    const order = state.list && decodeOrderBody(state.list.body);
    if (order?.kind !== 'gateways') throw new Error(`${device.name} holds no list of gateways`);
    return order;
  }

  /** A metric of the administration server, its lines with `label` added up. */
  async adminMetric(name: string, label: string): Promise<number> {
    const text = await (await fetch(`${this.lab.deployment.server}/metrics`)).text();
    return text
      .split('\n')
      .filter((line) => line.startsWith(`${name}{`) && line.includes(label))
      .reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
  }

  /* ---- what is stored in Redis ---- */

  /** The genuine pass of a gateway, as the directory has it. */
  async passOf(gateway: string): Promise<SignedPass> {
    const { pass } = await gatewayEntry(this.redis, gateway);
    if (!pass) throw new Error(`${gateway} has no pass`);
    return { body: new Uint8Array(pass.body), sig: new Uint8Array(pass.sig) };
  }

  /** Who writes to Redis says which epoch it is. */
  async writeEpoch(epoch: number): Promise<void> {
    await this.redis.make('redis', 'HSET', KEYS.installation, 'epoch', epoch);
  }

  async readEpoch(): Promise<number> {
    return Number(await this.redis.make('redis', 'HGET', KEYS.installation, 'epoch'));
  }

  /** The attacker appends to the outbox of the worker that holds the device. */
  async deliver(attacker: Attacker, { id }: Victim, delivery: Omit<Delivery, 'devices'>): Promise<void> {
    const holder = await attacker.make('redis', 'HGET', KEYS.presence(0), id);
    const [incarnation = ''] = String(holder).split(' ');
    await this.#append(attacker, incarnation, { devices: [id], ...delivery });
  }

  async hasLease(incarnation: string): Promise<boolean> {
    return (await this.redis.make('redis', 'EXISTS', KEYS.lease(incarnation))) === 1;
  }

  /** The attacker says where a device is. */
  async claim(attacker: Attacker, { id }: Victim, incarnation: string): Promise<void> {
    await attacker.make('redis', 'HSET', KEYS.presence(0), id, `${incarnation} ${Date.now() * 1_000}`);
  }

  async #append(attacker: Attacker, incarnation: string, delivery: Delivery): Promise<void> {
    await attacker.make('redis', 'XADD', KEYS.outbox(incarnation), '*', 'd', encode(delivery));
    await attacker.make('redis', 'PUBLISH', KEYS.outboxHint(incarnation), '');
  }

  /** The attacker grants legs their places at a worker. */
  async grant(attacker: Attacker, worker: string, tunnel: TunnelGrant): Promise<void> {
    const incarnations = (await attacker.make('redis', 'ZRANGE', KEYS.leases, 0, -1)) as Uint8Array[];
    for (const incarnation of incarnations.map(String)) {
      const stored = (await attacker.make(
        'redis',
        'HGET',
        KEYS.lease(incarnation),
        'identity',
      )) as Uint8Array;
      if (stored && decode<WorkerIdentity>(stored).worker === worker) {
        await this.#append(attacker, incarnation, { devices: [], tunnel });
      }
    }
  }

  /** The attacker says to the ledger what devices did. */
  async report(attacker: Attacker, receipts: readonly Receipt[]): Promise<void> {
    await attacker.make('report', KEYS.receipts, this.installation, receipts);
  }

  /** The same, in an emptied stream, as if Redis had taken it so long ago. */
  async reportLate(attacker: Attacker, receipts: readonly Receipt[], agoMs: number): Promise<void> {
    await attacker.make('redis', 'DEL', KEYS.receipts);
    const id = `${Date.now() - agoMs}-1`;
    await attacker.make('report', KEYS.receipts, this.installation, receipts, id);
  }

  /* ---- the past ---- */

  /** Signs what the administration server could have signed at another time. */
  async signer(): Promise<OrderSigner> {
    return (await this.database.keys()).server.signer;
  }
}
