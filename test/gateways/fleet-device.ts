/** A device of a fleet process: the SDK over a real WebSocket, and its own list of what it ran. */
import {
  type Command,
  enroll,
  MemoryStore,
  PushpointDevice,
  type ReconnectOptions,
} from '../../device/index.ts';
import { COMMAND_TYPE_NAMES } from '../../protocol/command-types.ts';
import type { News, Runs, StartOptions } from './fleet-messages.ts';

/** Shorter than a device's own, so that a scenario takes a minute and not an hour; the shape is the same. */
const RECONNECT: Partial<ReconnectOptions> = { baseMs: 200, capMs: 2_000, nowJitterMs: 200 };

/** How long work takes, milliseconds, evenly distributed; what is not named is done at once. */
const WORK_MS: Record<string, [number, number]> = { sync: [300, 2_500], 'task.start': [50, 500] };

const RESULTS: Record<string, unknown> = {
  sync: { revision: 'r1' },
  'task.start': { exitStatus: 0 },
  'task.stop': { wasRunning: false },
  statistics: { uptimeSeconds: 1 },
};

export class FleetDevice {
  readonly name: string;
  readonly #tell: (news: News) => void;
  readonly #store = new MemoryStore();
  readonly #runs = new Map<string, Runs>();
  #device: PushpointDevice | undefined;
  id = '';

  constructor(name: string, tell: (news: News) => void) {
    this.name = name;
    this.#tell = tell;
  }

  get runs(): Iterable<Runs> {
    return this.#runs.values();
  }

  async enrol(server: string, token: string): Promise<void> {
    const options = {
      server,
      token,
      store: this.#store,
      name: this.name,
      software: 'fleet/1',
      timeoutMs: 60_000,
    };
    this.id = (await enroll(options)).deviceId;
  }

  /** Resolves when the first attempt at a connection has come to something. */
  async start({ probing, home }: StartOptions): Promise<void> {
    if (this.#device) return;
    if (home) {
      const { state } = await this.#store.load();
      await this.#store.saveState({ ...state, gateways: [home], home: home.url });
    }
    const device = new PushpointDevice({
      store: this.#store,
      software: 'fleet/1',
      reconnect: RECONNECT,
      ...(!probing && { probing: false as const }),
    });
    this.#device = device;
    for (const type of COMMAND_TYPE_NAMES) device.handle(type as string, (command) => this.#run(command));
    device.on('connected', ({ gateway }) =>
      this.#tell({ device: this.id, at: Date.now(), connected: gateway }),
    );
    device.on('disconnected', ({ code, reason }) =>
      this.#tell({ device: this.id, at: Date.now(), ended: code, reason }),
    );
    // Either way: a gateway may be full, or not be there.
    const firstNews = new Promise<void>((resolve) => {
      device.on('connected', () => resolve());
      device.on('disconnected', () => resolve());
    });
    await device.start();
    await firstNews;
  }

  async stop(): Promise<void> {
    await this.#device?.stop({ deadlineMs: 5_000 });
    this.#device = undefined;
  }

  async #run({ id, type }: Command): Promise<unknown> {
    const runs = this.#runs.get(id) ?? { device: this.id, command: id, started: 0, completed: 0 };
    this.#runs.set(id, runs);
    runs.started++;
    const [minMs, maxMs] = WORK_MS[type] ?? [0, 0];
    if (maxMs > 0) {
      await new Promise((resolve) => setTimeout(resolve, minMs + Math.random() * (maxMs - minMs)));
    }
    runs.completed++;
    return RESULTS[type] ?? null;
  }
}
