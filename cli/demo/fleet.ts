/** The demo's devices: the SDK over real WebSockets, and each device's own list of what it ran. */
import { setTimeout as pause } from 'node:timers/promises';
import { enroll, MemoryStore, PushpointDevice } from '../../device/index.ts';

/** How long one synchronisation takes, milliseconds: long enough to be interrupted, different for each. */
const SYNC_MIN_MS = 100;
const SYNC_SPREAD_MS = 1_400;

/** A device's own record of one command. */
export interface Runs {
  type: string;
  started: number;
  /** Completed runs, without those that a power cut interrupted. */
  completed: number;
}

export class DemoDevice {
  readonly name: string;
  readonly group: string;
  /** By command id. */
  readonly runs = new Map<string, Runs>();
  id = '';
  /** Survives a power cut, as a disk would. */
  readonly #store = new MemoryStore();
  #life: { device: PushpointDevice; dead: boolean } | undefined;
  readonly #onCompleted: (command: string) => void;
  #stopTask: (() => void) | undefined;

  /** Calls `onCompleted` with the command at the moment a run completes. */
  constructor(name: string, group: string, onCompleted: (command: string) => void) {
    this.name = name;
    this.group = group;
    this.#onCompleted = onCompleted;
  }

  get connected(): boolean {
    return this.#life?.device.session != null;
  }

  /** Completed runs of one command. */
  completed(command: string): number {
    return this.runs.get(command)?.completed ?? 0;
  }

  async enrol(server: string, token: string): Promise<void> {
    const identity = await enroll({ server, token, store: this.#store, name: this.name, software: 'demo/1' });
    this.id = identity.deviceId;
  }

  async start(): Promise<void> {
    const device = new PushpointDevice({ store: this.#store, software: 'demo/1' });
    const life = { device, dead: false };
    this.#life = life;
    const run = async (id: string, type: string, work: () => unknown): Promise<unknown> => {
      const runs = this.runs.get(id) ?? { type, started: 0, completed: 0 };
      this.runs.set(id, runs);
      runs.started++;
      const result = await work();
      // A program without power completes nothing, although this process continues.
      if (life.dead) return new Promise(() => {});
      runs.completed++;
      this.#onCompleted(id);
      return result;
    };
    device.handle(
      'sync',
      ({ id }) =>
        run(id, 'sync', async () => {
          await pause(SYNC_MIN_MS + Math.random() * SYNC_SPREAD_MS);
          return { revision: 'demo-1' };
        }),
      { safeToRepeat: true },
    );
    device.handle('task.start', ({ id }, { progress, signal }) =>
      run(id, 'task.start', async () => {
        progress(0, 'the task runs');
        await new Promise<void>((resolve) => {
          this.#stopTask = resolve;
          signal.addEventListener('abort', () => resolve());
        });
        return { signal: 'SIGTERM' };
      }),
    );
    device.handle(
      'task.stop',
      ({ id }) =>
        run(id, 'task.stop', () => {
          const wasRunning = this.#stopTask !== undefined;
          this.#stopTask?.();
          this.#stopTask = undefined;
          return { wasRunning };
        }),
      { unlimited: true },
    );
    device.handle('statistics', ({ id }) =>
      run(id, 'statistics', () => ({
        uptimeSeconds: Math.round(process.uptime()),
        commandsRun: this.runs.size,
      })),
    );
    await device.start();
  }

  /**
   * Like a power cut: the socket vanishes without a close frame, and everything that was not stored is lost.
   */
  async kill(): Promise<void> {
    const life = this.#life;
    if (life === undefined) return;
    life.dead = true;
    this.#life = undefined;
    await life.device.stop({ abrupt: true });
  }

  async stop(): Promise<void> {
    await this.#life?.device.stop({ deadlineMs: 500 });
    this.#life = undefined;
  }
}
