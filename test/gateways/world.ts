/**
 * A deployment with devices on it, shared by the scenarios: each says how many gateways and devices it needs.
 */
import type { GatewayDocument } from '../../admin-api/http/schemas/gateways.ts';
import type { StatusDocument } from '../../admin-api/http/schemas/operations.ts';
import type { DeviceView } from '../../cli/api/views.ts';
import { Fleet, type FleetMember } from '../fleet/fleet.ts';
import { Ledger, type Target } from '../fleet/ledger.ts';
import { waitFor } from '../wait.ts';
import { GatewayDeployment } from './deployment.ts';

/** Connection limits, and so the weights: one gateway is half as large again. */
const LIMITS: Record<string, number> = { gw4: 2_100 };
const USUAL_LIMIT = 1_400;
const GROUP_SIZE = 250;
/** The short form has this share of the devices. */
const QUICK_SHARE = 0.25;

export type GatewayPatch = Partial<
  Pick<GatewayDocument, 'groupId' | 'runPushServer' | 'port' | 'address' | 'connectionLimit'>
>;

export class World {
  readonly deployment: GatewayDeployment;
  readonly fleet = new Fleet();
  readonly ledger: Ledger;
  /** Says on stderr how far the scenario is. */
  readonly say: (text: string) => void;
  worstSpread = 0;
  readonly #housed: FleetMember[] = [];
  #groups = 0;

  readonly #share: number;

  private constructor(deployment: GatewayDeployment, say: (text: string) => void, quick: boolean) {
    this.deployment = deployment;
    this.#share = quick ? QUICK_SHARE : 1;
    this.ledger = new Ledger(deployment.api, this.fleet);
    this.say = say;
  }

  static async start(say: (text: string) => void, quick: boolean): Promise<World> {
    return new World(await GatewayDeployment.start(), say, quick);
  }

  /** So many devices in the form that is played; `count` in the whole one. */
  share(count: number): number {
    return Math.ceil(count * this.#share);
  }

  async stop(): Promise<void> {
    await this.fleet.close();
    await this.deployment.stop();
  }

  /** Gateways `gw1` to `gw<count>` run, and the server recorded that they are up. Returns their names. */
  async gateways(count: number): Promise<string[]> {
    const names = Array.from({ length: count }, (_, n) => `gw${n + 1}`);
    const missing = names.filter((name) => !this.deployment.gateways.includes(name));
    for (const name of missing)
      await this.deployment.addLimited(name, this.share(LIMITS[name] ?? USUAL_LIMIT));
    await Promise.all(missing.map((name) => this.deployment.start(name)));
    await this.until('gateways to be up', 20_000, async () => {
      const views = await Promise.all(names.map((name) => this.gateway(name)));
      return views.every(({ state, applied, workers }) => state === 'up' && applied && workers.length === 2);
    });
    return names;
  }

  gateway(name: string): Promise<GatewayDocument> {
    return this.deployment.api.get(`/v1/gateways/${name}`);
  }

  change(name: string, body: GatewayPatch): Promise<GatewayDocument> {
    return this.deployment.api.request('PATCH', `/v1/gateways/${name}`, { body });
  }

  /** Waits until the API tells of the gateway what it should; says at the deadline what it told last. */
  async gatewayTells(
    name: string,
    what: string,
    holds: (view: GatewayDocument) => boolean,
    timeoutMs = 20_000,
  ): Promise<GatewayDocument> {
    let last: GatewayDocument | undefined;
    try {
      await this.until(`${name}: ${what}`, timeoutMs, async () => {
        last = await this.gateway(name);
        return holds(last);
      });
    } catch (error) {
      throw new Error(`${(error as Error).message}; last seen ${JSON.stringify(last)}`, { cause: error });
    }
    return last as GatewayDocument;
  }

  async group(id: string, parentId = 'all'): Promise<void> {
    await this.deployment.api.request('POST', '/v1/groups', { body: { name: id, id, parentId } });
  }

  async enrol(count: number, group: string): Promise<FleetMember[]> {
    const { token } = await this.deployment.api.request<{ token: string }>('POST', '/v1/enrolment-tokens', {
      body: { groupId: group, uses: count },
    });
    return this.fleet.enrol(count, group, this.deployment.server, token);
  }

  /** Exactly `count` devices are connected, also by the ledger: groups of 250 directly below the root. */
  async devices(count: number): Promise<FleetMember[]> {
    const { fleet } = this;
    const began = performance.now();
    const missing = Math.ceil((count - this.#housed.length) / GROUP_SIZE);
    for (let n = 0; n < missing; n++) {
      const id = `house-${++this.#groups}`;
      await this.group(id);
      this.#housed.push(...(await this.enrol(GROUP_SIZE, id)));
    }
    if (missing > 0) this.say(`${missing * GROUP_SIZE} devices enrolled, ${since(began)}`);
    const wanted = this.#housed.slice(0, count);
    const keep = new Set(wanted);
    await fleet.stop(fleet.started.filter((member) => !keep.has(member)));
    await fleet.start(wanted.filter(({ started }) => !started));
    await this.allConnected();
    this.say(`${count} devices connected, ${since(began)}`);
    return wanted;
  }

  /** Every device that was started is connected, by its own word and by the ledger. */
  async allConnected(timeoutMs = 60_000): Promise<void> {
    const { started } = this.fleet;
    await this.until(
      'all devices to be connected',
      timeoutMs,
      () => started.every(({ where }) => where !== null),
      () => `${started.filter(({ where }) => where !== null).length} of ${started.length} connected`,
    );
    let onRecord = 0;
    let backlog: number | null = 0;
    await this.until(
      'the devices to be recorded as connected',
      30_000,
      async () => {
        const status = await this.deployment.api.get<StatusDocument>('/v1/status');
        onRecord = status.devices.connected;
        backlog = status.receiptsBacklog;
        return onRecord === started.length;
      },
      () => `${onRecord} of ${started.length} in the ledger, backlog of ${backlog} batches of receipts`,
    ).catch(async (error: Error) => {
      throw new Error(`${error.message}${await this.#offRecord()}`, { cause: error });
    });
  }

  /** Devices whose record says something else than they do. */
  async #offRecord(): Promise<string> {
    const { items } = await this.deployment.api.list<DeviceView>('/v1/devices', {}, 100_000);
    const wrong = items.filter(({ id, state }) => {
      return (state === 'connected') !== (this.fleet.members.get(id)?.where != null);
    });
    const shown = wrong.slice(0, 5).map((device) => {
      const member = this.fleet.members.get(device.id);
      const last = member?.arrivals.at(-1);
      const arrived = last ? `${last.gateway} at ${new Date(last.at).toISOString()}` : 'never';
      return (
        `\n    ${device.id}: in the ledger ${device.state}, ${device.gateway}, connected ` +
        `${device.connectedAt}, disconnected ${device.disconnectedAt} ${device.closeCode} ` +
        `${device.closeReason}; arrived ${arrived}, ended ${member?.endings.at(-1)}`
      );
    });
    return `; ${wrong.length} differ${shown.join('')}`;
  }

  /** The groups that `devices` made and of which every device is connected, as targets of commands. */
  wholeGroups(): Target[] {
    const groups = new Map<string, FleetMember[]>();
    for (const member of this.#housed)
      groups.set(member.group, [...(groups.get(member.group) ?? []), member]);
    return [...groups]
      .filter(([, members]) => members.every(({ started }) => started))
      .map(([group, members]) => ({ group, devices: members.map(({ id }) => id) }));
  }

  /**
   * The largest deviation from the share that the limits give each of these gateways, as a part of that
   * share.
   */
  async spread(names: readonly string[]): Promise<number> {
    const views = await Promise.all(names.map((name) => this.gateway(name)));
    const limits = views.reduce((sum, view) => sum + view.connectionLimit, 0);
    const counts = names.map((name) => this.fleet.count(name));
    const total = counts.reduce((sum, count) => sum + count, 0);
    return Math.max(
      ...views.map(({ connectionLimit }, n) => {
        const target = (total * connectionLimit) / limits;
        return Math.abs((counts[n] ?? 0) - target) / target;
      }),
    );
  }

  /**
   * Waits until the devices are spread within 10 % of the weights, and holds that against the whole suite.
   */
  async spreadHolds(names: readonly string[], timeoutMs = 60_000): Promise<number> {
    let spread = 1;
    await this.until(
      'the spread to be within 10 %',
      timeoutMs,
      async () => {
        spread = await this.spread(names);
        return spread <= 0.1;
      },
      () => `spread ${percent(spread)}`,
      300,
    );
    this.say(`${this.fleet.connected.length} devices on ${names.length} gateways, spread ${percent(spread)}`);
    this.worstSpread = Math.max(this.worstSpread, spread);
    return spread;
  }

  /** Waits for a condition, and says every few seconds how far it is. */
  async until(
    what: string,
    timeoutMs: number,
    condition: () => boolean | Promise<boolean>,
    progress?: () => string,
    intervalMs = 50,
  ): Promise<void> {
    let saidAt = performance.now();
    const look = () => {
      if (progress && performance.now() - saidAt > 2_000) {
        saidAt = performance.now();
        this.say(progress());
      }
      return condition();
    };
    try {
      await waitFor(look, { timeoutMs, intervalMs, what });
    } catch (error) {
      throw progress ? new Error(`${(error as Error).message}: ${progress()}`, { cause: error }) : error;
    }
  }
}

export function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

export function since(began: number): string {
  return `${((performance.now() - began) / 1_000).toFixed(1)} s`;
}
