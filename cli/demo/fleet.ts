/**
 * The demo's devices: real ones, with the SDK, over real WebSockets; and what each remembers of what it ran.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { enroll, MemoryStore, PushpointDevice } from '../../device/index.ts';

/** How long one synchronisation takes, milliseconds: long enough to be interrupted, different for each. */
const SYNC_MIN_MS = 100;
const SYNC_SPREAD_MS = 1_400;

/** What a device says it ran of one command. */
export interface Runs {
  type: string;
  started: number;
  /** Runs that came to their end; those that death cut short are not among them. */
  completed: number;
}

export class DemoDevice {
  readonly name: string;
  readonly group: string;
  /** By command id. */
  readonly runs = new Map<string, Runs>();
  id = '';
  /** Survives the death of the device, as a disk would. */
  readonly #store = new MemoryStore();
  #life: { device: PushpointDevice; dead: boolean } | undefined;
  readonly #onCompleted: (command: string) => void;
  #stopTask: (() => void) | undefined;

  /** `onCompleted` is told the command at the very moment a run comes to its end. */
  constructor(name: string, group: string, onCompleted: (command: string) => void) {
    this.name = name;
    this.group = group;
    this.#onCompleted = onCompleted;
  }

  get connected(): boolean {
    return this.#life?.device.session != null;
  }

  /** Runs of one command that came to their end. */
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
      // A dead program runs nothing to its end, although this process goes on.
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

  /** As a power cut: the socket is gone without a word, and so is everything that was not stored. */
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
