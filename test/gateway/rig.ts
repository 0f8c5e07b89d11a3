/** A gateway worker over an in-process bus, a directory with devices, and everything the worker reported. */
import pino from 'pino';
import { Registry } from 'prom-client';
import type {
  Bus,
  BusCounts,
  BusStatus,
  DirectoryDevice,
  DirectoryGateway,
  Receipt,
  WorkerLoad,
} from '../../bus/bus.ts';
import { BusUnavailable } from '../../bus/bus.ts';
import { MemoryBus } from '../../bus/memory-bus.ts';
import { type GatewayConfigInput, GatewayWorker, parseGatewayConfig } from '../../gateway/index.ts';
import type { GatewayAddress, SignedServerKeys } from '../../protocol/index.ts';
import { fingerprintOf } from '../server-keys.ts';
import { freePort, waitFor } from '../wait.ts';
import { claim, writeDirectory } from '../write-directory.ts';
import {
  directoryDevice,
  directoryList,
  type Identity,
  makeIdentity,
  ROOT_KEY,
  SERVER_KEYS,
} from './raw-device.ts';

/** A bus that can be cut off: everything rejects with `BusUnavailable` while `away`. */
export class CuttableBus implements Bus {
  readonly inner: Bus;
  readonly owner: Bus['owner'];
  away = false;
  #since = Date.now();
  readonly leases: Bus['leases'];
  readonly outboxes: Bus['outboxes'];
  readonly receipts: Bus['receipts'];
  readonly presence: Bus['presence'];
  readonly directory: Bus['directory'];
  readonly joins: Bus['joins'];
  readonly clock: Bus['clock'];

  constructor(inner: Bus) {
    this.inner = inner;
    this.clock = inner.clock;
    this.owner = inner.owner;
    this.leases = this.#guard(inner.leases);
    this.outboxes = this.#guard(inner.outboxes);
    this.receipts = this.#guard(inner.receipts);
    this.presence = this.#guard(inner.presence);
    this.directory = this.#guard(inner.directory);
    this.joins = this.#guard(inner.joins);
  }

  start(options?: Parameters<Bus['start']>[0]): Promise<void> {
    return this.inner.start(options);
  }

  stop(): Promise<void> {
    return this.inner.stop();
  }

  cut(away: boolean): void {
    this.away = away;
    this.#since = Date.now();
  }

  counts(): BusCounts {
    return this.inner.counts();
  }

  status(): BusStatus {
    return this.away ? { available: false, since: this.#since, reason: 'cut off' } : this.inner.status();
  }

  #guard<T extends object>(part: T): T {
    return new Proxy(part, {
      get: (target, key) => {
        const value = Reflect.get(target, key);
        if (typeof value !== 'function') return value;
        return (...args: unknown[]) =>
          this.away ? Promise.reject(new BusUnavailable('cut off')) : value.apply(target, args);
      },
    });
  }
}

/** One line of the worker's log. */
export type LogLine = Record<string, unknown> & { level: number; msg: string };

export interface RigOptions {
  config?: Partial<GatewayConfigInput>;
  /** Settings in the directory; when absent the worker goes by what it was started with. */
  settings?: Partial<DirectoryGateway>;
  /** Server keys in the directory; `SERVER_KEYS` when absent. */
  keys?: readonly SignedServerKeys[];
  /** The directory is whole; true when absent. */
  whole?: boolean;
  bus?: CuttableBus;
  /** The bus inside, when it is the rig's own. */
  ownBus?: Bus;
}

export const ROOT = 'root';
export const BRANCH = 'branch';

export class Rig {
  readonly bus: CuttableBus;
  readonly worker: GatewayWorker;
  readonly registry = new Registry();
  readonly receipts: Receipt[] = [];
  readonly log: LogLine[] = [];
  readonly #ownsBus: boolean;
  #stopConsuming: (() => Promise<void>) | null = null;
  #devices = 0;
  readonly #enrolled: DirectoryDevice[] = [];
  /** Of the gateway in the directory; other files use theirs at the same time. */
  #port = 0;

  constructor(options: RigOptions) {
    this.#ownsBus = options.bus === undefined;
    this.bus = options.bus ?? new CuttableBus(options.ownBus ?? new MemoryBus());
    const config = parseGatewayConfig({
      name: 'gw1',
      host: '127.0.0.1',
      metricsPort: null,
      initial: { group: ROOT, port: 0, address: 'ws://127.0.0.1:0', connectionLimit: 1_000 },
      heartbeatIntervalMs: 60_000,
      handshakeTimeoutMs: 10_000,
      outboxPollMs: 50,
      settingsPollMs: 50,
      ...options.config,
    });
    const stream = { write: (line: string) => void this.log.push(JSON.parse(line) as LogLine) };
    const log = pino({ level: 'debug' }, stream);
    const fingerprint = fingerprintOf(ROOT_KEY);
    this.worker = new GatewayWorker({ config, bus: this.bus, log, registry: this.registry, fingerprint });
  }

  get url(): string {
    return `ws://127.0.0.1:${this.worker.port}/`;
  }

  async start(options: RigOptions): Promise<void> {
    this.#port = await freePort();
    if (this.#ownsBus) await this.bus.start();
    await claim(this.bus.inner);
    await this.putKeys(options.keys ?? [SERVER_KEYS]);
    if (options.settings) await this.putGateway(options.settings);
    if (options.whole !== false) await this.makeWhole();
    if (this.#ownsBus) {
      this.#stopConsuming = await this.bus.inner.receipts.consume('test', async (batch) => {
        this.receipts.push(...batch);
      });
    }
    await this.worker.start();
  }

  /** Writes the directory as an administration server does. */
  async makeWhole(): Promise<void> {
    await writeDirectory(this.bus.inner, this.#enrolled);
  }

  async stop(): Promise<void> {
    this.bus.cut(false);
    await this.worker.stop({ deadlineMs: 2_000 });
    await this.#stopConsuming?.();
    if (this.#ownsBus) await this.bus.stop();
  }

  /** The installation's server keys, with a gateway that is not registered: every entry has them. */
  async putKeys(keys: readonly SignedServerKeys[]): Promise<void> {
    const { group, connectionLimit } = { group: ROOT, connectionLimit: 1 };
    await this.bus.inner.directory.putGateways([
      {
        ...{
          name: 'stranger',
          group,
          connectionLimit,
          runPushServer: true,
          port: 1,
          address: 'ws://stranger',
        },
        ...{ told: null, former: [], revision: 0, draining: false, weight: 0, refused: 'a stranger', keys },
      },
    ]);
  }

  /** Devices are told the address that is set, where the test does not say otherwise. */
  async putGateway(settings: Partial<DirectoryGateway>): Promise<void> {
    const { port = this.#port, address = 'ws://127.0.0.1:13295' } = settings;
    await this.bus.inner.directory.putGateways([
      {
        told: { port, address },
        former: [],
        name: 'gw1',
        group: ROOT,
        runPushServer: true,
        port: this.#port,
        address: 'ws://127.0.0.1:13295',
        connectionLimit: 1_000,
        revision: 1,
        draining: false,
        weight: 1000,
        ...settings,
      },
    ]);
  }

  /** The signed lists of these groups and no others, as an administration server numbers them. */
  async putLists(lists: Record<string, GatewayAddress[]>, revision = 1): Promise<void> {
    const { directory } = this.bus.inner;
    const edition = [1, revision] as const;
    await directory.putLists(
      Object.entries(lists).map(([group, gateways]) => directoryList(group, gateways, edition)),
    );
    await directory.markLists(edition.join('.'), new Set(Object.keys(lists)));
  }

  /** A new device in the directory. */
  async enrol(
    groups: string[] = [ROOT],
    more: Parameters<typeof directoryDevice>[2] = {},
  ): Promise<Identity> {
    const identity = makeIdentity(`device-${++this.#devices}`);
    const device = directoryDevice(identity, groups, more);
    this.#enrolled.push(device);
    await this.bus.inner.directory.putDevices([device]);
    return identity;
  }

  /** The incarnation of the worker's lease, when it has one. */
  async incarnation(): Promise<string> {
    const leases = await this.bus.inner.leases.list();
    const mine = leases.filter((lease) => lease.identity.worker === this.worker.name);
    const incarnation = mine.at(-1)?.incarnation;
    if (incarnation === undefined) throw new Error('the worker has no lease');
    return incarnation;
  }

  /** What the worker reported of its load last. */
  async load(): Promise<WorkerLoad> {
    const lease = (await this.bus.inner.leases.list()).find(
      ({ identity }) => identity.worker === this.worker.name,
    );
    if (!lease) throw new Error('the worker has no lease');
    return lease.load;
  }

  /** The first receipt of a kind that fits; waits for it. */
  receipt<K extends Receipt['kind']>(
    kind: K,
    fits: (receipt: Extract<Receipt, { kind: K }>) => boolean = () => true,
  ): Promise<Extract<Receipt, { kind: K }>> {
    return waitFor(
      () =>
        this.receipts.find(
          (receipt): receipt is Extract<Receipt, { kind: K }> =>
            receipt.kind === kind && fits(receipt as Extract<Receipt, { kind: K }>),
        ),
      { what: `a ${kind} receipt among ${JSON.stringify(this.receipts)}` },
    ) as Promise<Extract<Receipt, { kind: K }>>;
  }

  /** The value of a metric, all labels added up, or only those with `label`. */
  async metric(name: string, label?: string): Promise<number> {
    const found = (await this.registry.getMetricsAsJSON()).find(
      (metric) => metric.name === `pushpoint_gateway_${name}`,
    );
    if (!found) throw new Error(`no metric ${name}`);
    const values = found.values as { value: number; labels: Record<string, string> }[];
    return values
      .filter(({ labels }) => label === undefined || Object.values(labels).includes(label))
      .reduce((sum, { value }) => sum + value, 0);
  }
}

/** Runs `body` with a started rig and stops it, whatever happens. */
export async function withRig(options: RigOptions, body: (rig: Rig) => Promise<void>): Promise<void> {
  const rig = new Rig(options);
  try {
    await rig.start(options);
    await body(rig);
  } finally {
    await rig.stop();
  }
}
