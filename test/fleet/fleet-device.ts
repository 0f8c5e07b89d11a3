/** A device of a fleet process: the SDK over a real WebSocket, with its runs noted. */
import { join } from 'node:path';
import {
  type Command,
  type DeviceStore,
  enroll,
  FileStore,
  MemoryStore,
  PushpointDevice,
  type ReconnectOptions,
} from '../../device/index.ts';
import { COMMAND_TYPE_NAMES } from '../../protocol/command-types.ts';
import { waitFor } from '../wait.ts';
import type { News, StartOptions } from './fleet-messages.ts';
import { heardDial } from './heard-wire.ts';
import type { RunLog } from './run-log.ts';

/** Shorter than a device's own, so that a scenario takes a minute and not an hour; the shape is the same. */
const RECONNECT: Partial<ReconnectOptions> = { baseMs: 200, capMs: 2_000, nowJitterMs: 200 };
const RESEND_AFTER_MS = 10_000;
const HANDSHAKE_TIMEOUT_MS = 15_000;

/** How long work takes, milliseconds, evenly distributed; what is not named is done at once. */
const WORK_MS: Record<string, [number, number]> = { sync: [300, 2_500], 'task.start': [50, 500] };

const RESULTS: Record<string, unknown> = {
  sync: { revision: 'r1' },
  'task.start': { exitStatus: 0 },
  'task.stop': { wasRunning: false },
  statistics: { uptimeSeconds: 1 },
};

export interface FleetDeviceParts {
  name: string;
  runs: RunLog;
  tell: (news: News) => void;
  /** Folder of its state, which then outlives the process; in memory when absent. */
  folder?: string | undefined;
}

/** From one start to its stop or death. */
interface Life {
  device: PushpointDevice;
  dead: boolean;
  atWork: Set<string>;
}

export class FleetDevice {
  readonly name: string;
  readonly #parts: FleetDeviceParts;
  /** 1 for a copy of another. */
  readonly #place: number;
  #store: DeviceStore | undefined;
  #life: Life | undefined;
  #copy: FleetDevice | undefined;
  id = '';

  constructor(parts: FleetDeviceParts, place = 0) {
    this.name = parts.name;
    this.#parts = parts;
    this.#place = place;
  }

  async enrol(server: string, token: string): Promise<void> {
    const store = await this.#opened();
    const options = { server, token, store, name: this.name, software: 'fleet/1', timeoutMs: 60_000 };
    // Again when the server could not: as long as it has the same key, it is the same device.
    const enrolled = () => enroll(options);
    this.id = (await waitFor(enrolled, { timeoutMs: 30_000, intervalMs: 500, what: 'enrolment' })).deviceId;
  }

  /** Resolves when the first attempt at a connection has come to something. */
  async start({ probing, home }: StartOptions): Promise<void> {
    if (this.#life) return;
    const store = await this.#opened();
    if (home) {
      const { state } = await store.load();
      await store.saveState({ ...state, gateways: [home], home: home.url });
    }
    const device = new PushpointDevice({
      store,
      software: 'fleet/1',
      dial: heardDial((command) => this.#parts.runs.heard(this.id, command, this.#place)),
      reconnect: RECONNECT,
      pace: { resendAfterMs: RESEND_AFTER_MS },
      handshakeTimeoutMs: HANDSHAKE_TIMEOUT_MS,
      ...(!probing && { probing: false as const }),
    });
    const life: Life = { device, dead: false, atWork: new Set() };
    this.#life = life;
    for (const type of COMMAND_TYPE_NAMES) {
      const safeToRepeat = type === 'sync';
      device.handle(type as string, (command) => this.#run(life, command), { safeToRepeat });
    }
    if (this.#place === 0) this.#tellOf(device);
    // Either way: a gateway may be full, or not be there.
    const firstNews = new Promise<void>((resolve) => {
      device.on('connected', () => resolve());
      device.on('disconnected', () => resolve());
    });
    await device.start();
    await firstNews;
  }

  async stop(): Promise<void> {
    const life = this.#life;
    this.#life = undefined;
    await life?.device.stop({ deadlineMs: 5_000 });
  }

  /** Everything that was not stored is gone. */
  async crash(): Promise<void> {
    const life = this.#life;
    if (!life) return;
    life.dead = true;
    this.#life = undefined;
    for (const command of life.atWork) this.#parts.runs.cutShort(this.id, command, this.#place);
    await life.device.stop({ abrupt: true });
  }

  /** The same identity in a second place, as when the disk of a machine is copied. */
  async copy(options: StartOptions): Promise<void> {
    const { state } = await (await this.#opened()).load();
    const copy = new FleetDevice({ ...this.#parts, folder: undefined }, 1);
    await (await copy.#opened()).saveState(state);
    copy.id = this.id;
    this.#copy = copy;
    await copy.start(options);
  }

  /** Resolves when the ledger has confirmed all that it did. */
  async settled(): Promise<void> {
    await waitFor(() => this.#settled, { timeoutMs: 30_000, what: 'a device to have settled' });
  }

  get #settled(): boolean {
    return this.#life?.device.counts().unsettled === 0;
  }

  async endCopy(): Promise<void> {
    const copy = this.#copy;
    if (!copy) return;
    await waitFor(() => this.#settled && copy.#settled, { timeoutMs: 30_000, what: 'both to have settled' });
    this.#copy = undefined;
    await copy.stop();
  }

  #tellOf(device: PushpointDevice): void {
    const { tell } = this.#parts;
    device.on('connected', ({ gateway }) => tell({ device: this.id, at: Date.now(), connected: gateway }));
    device.on('disconnected', ({ code, reason }) =>
      tell({ device: this.id, at: Date.now(), ended: code, reason }),
    );
  }

  async #opened(): Promise<DeviceStore> {
    const { folder } = this.#parts;
    this.#store ??= folder === undefined ? new MemoryStore() : await FileStore.open(join(folder, this.name));
    return this.#store;
  }

  async #run(life: Life, { id, type }: Command): Promise<unknown> {
    const { runs } = this.#parts;
    runs.started(this.id, id, this.#place);
    life.atWork.add(id);
    const [minMs, maxMs] = WORK_MS[type] ?? [0, 0];
    if (maxMs > 0) {
      await new Promise((resolve) => setTimeout(resolve, minMs + Math.random() * (maxMs - minMs)));
    }
    // A dead program does nothing more, although this process goes on.
    if (life.dead) return new Promise(() => {});
    life.atWork.delete(id);
    runs.completed(this.id, id, this.#place);
    return RESULTS[type] ?? null;
  }
}
