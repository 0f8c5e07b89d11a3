import {
  type Command,
  type DeviceStore,
  enroll,
  type HandlerContext,
  MemoryStore,
  type NodeDeviceOptions,
  PushpointDevice,
  type ReconnectOptions,
} from '../../device/index.ts';
import { COMMAND_TYPE_NAMES, type CommandType } from '../../protocol/command-types.ts';
import { waitFor } from '../wait.ts';
import type { Wire } from './wire.ts';

/** What a device says it did with one command. */
export interface Runs {
  type: string;
  started: number;
  /** Came to their end without an error. */
  completed: number;
  /** Were under way when the device died. */
  cutShort: number;
}

export type Work = (command: Command, context: HandlerContext, device: TestDevice) => unknown;

/** Back-offs short enough for tests; the full ones are tested with the device. */
const RECONNECT: Partial<ReconnectOptions> = { baseMs: 100, capMs: 1_000, nowJitterMs: 50 };

export interface TestDeviceOptions {
  name: string;
  group: string;
  work?: Work;
  /** Types whose handlers are declared safe to repeat; none when absent. */
  safeToRepeat?: readonly CommandType[];
  /** Types it handles; all when absent. */
  handles?: readonly CommandType[];
  wire?: Wire;
  store?: DeviceStore;
  /** See the SDK's `pace`. */
  resendAfterMs?: number;
  concurrency?: number;
  handshakeTimeoutMs?: number;
  /** See the SDK's `probing`. */
  probing?: NodeDeviceOptions['probing'];
  /** See the SDK's `tunnels`; none when absent. */
  tunnels?: NodeDeviceOptions['tunnels'];
}

/** From one start to its stop or death. */
interface Life {
  device: PushpointDevice;
  dead: boolean;
  /** Commands whose handlers are at work. */
  atWork: Set<string>;
}

/** A device with the SDK over a real WebSocket, and its own list of what it ran. */
export class TestDevice {
  readonly options: TestDeviceOptions;
  /** Survives the death of the device, as a disk would. */
  readonly store: DeviceStore;
  /** By command id. */
  readonly runs = new Map<string, Runs>();
  /** Settled, by command id: the state that the ledger told. */
  readonly settled = new Map<string, string>();
  /** Codes with which connections ended, in order. */
  readonly closings: { code: number; reason: string; gateway: string }[] = [];
  readonly refusals: string[] = [];
  work: Work;
  id = '';
  #life: Life | undefined;
  #beats = 0;

  constructor(options: TestDeviceOptions) {
    this.options = options;
    this.store = options.store ?? new MemoryStore();
    this.work = options.work ?? usualWork;
  }

  get name(): string {
    return this.options.name;
  }

  /** Between `start` and `stop`. */
  get running(): boolean {
    return this.#life !== undefined;
  }

  get connected(): boolean {
    return this.#life?.device.session != null;
  }

  /** Name of the gateway that holds its session. */
  get gateway(): string | undefined {
    return this.#life?.device.session?.gateway.name;
  }

  /** The SDK's device; throws when it is not started. */
  get sdk(): PushpointDevice {
    if (!this.#life) throw new Error(`${this.name} is not started`);
    return this.#life.device;
  }

  started(command: string): number {
    return this.runs.get(command)?.started ?? 0;
  }

  completed(command: string): number {
    return this.runs.get(command)?.completed ?? 0;
  }

  async enrol(server: string, token: string, again = false): Promise<void> {
    const { store, name } = this;
    const identity = await enroll({ server, token, store, name, software: 'e2e/1', again });
    this.id = identity.deviceId;
  }

  /** Sends a heartbeat within a second; they are a minute apart otherwise. */
  beat(): void {
    this.sdk.setStatus({ policy: `beat ${++this.#beats}` });
  }

  async start(): Promise<void> {
    const {
      wire,
      handles = COMMAND_TYPE_NAMES,
      safeToRepeat = [],
      resendAfterMs,
      concurrency,
      handshakeTimeoutMs,
      probing,
      tunnels,
    } = this.options;
    const device = new PushpointDevice({
      store: this.store,
      software: 'e2e/1',
      reconnect: RECONNECT,
      ...(wire && { dial: wire.dial }),
      ...(resendAfterMs && { pace: { resendAfterMs } }),
      ...(concurrency && { limits: { concurrency } }),
      ...(handshakeTimeoutMs && { handshakeTimeoutMs }),
      ...(probing !== undefined && { probing }),
      ...(tunnels && { tunnels }),
    });
    const life: Life = { device, dead: false, atWork: new Set() };
    this.#life = life;
    for (const type of handles) {
      // With tunnels the SDK handles these itself.
      if (tunnels && type.startsWith('tunnel.')) continue;
      device.handle(type as string, (command, context) => this.#run(life, command, context), {
        safeToRepeat: safeToRepeat.includes(type),
        // As the agent does: stopping must not wait for a slot.
        unlimited: type === 'task.stop',
      });
    }
    device.on('disconnected', ({ code, reason, gateway }) =>
      this.closings.push({ code, reason, gateway: gateway.name }),
    );
    device.on('order-refused', ({ reason }) => this.refusals.push(reason));
    device.on('execution-settled', ({ id, state }) => this.settled.set(id, state));
    await device.start();
  }

  async #run(life: Life, command: Command, context: HandlerContext): Promise<unknown> {
    const { id, type } = command;
    const runs = this.runs.get(id) ?? { type, started: 0, completed: 0, cutShort: 0 };
    this.runs.set(id, runs);
    runs.started++;
    life.atWork.add(id);
    try {
      const result = await this.work(command, context, this);
      if (!life.dead) runs.completed++;
      return result;
    } finally {
      life.atWork.delete(id);
      // A dead program does nothing more, although this process goes on.
      if (life.dead) await new Promise(() => {});
    }
  }

  /** As a power cut: the socket is gone without a word, and so is everything that was not stored. */
  async crash(): Promise<void> {
    const life = this.#life;
    if (!life) return;
    life.dead = true;
    for (const id of life.atWork) (this.runs.get(id) as Runs).cutShort++;
    this.#life = undefined;
    await life.device.stop({ abrupt: true });
  }

  /** Leaves in order; what runs is asked to stop. */
  async stop(): Promise<void> {
    await this.#life?.device.stop({ deadlineMs: 300 });
    this.#life = undefined;
  }
}

/** Devices learn with heartbeats what is stored of commands to groups: they send some meanwhile. */
export async function whenSettled(
  devices: readonly TestDevice[],
  isSettled: (device: TestDevice) => boolean,
): Promise<void> {
  await waitFor(
    () => {
      const waiting = devices.filter((device) => !isSettled(device));
      for (const device of waiting) device.beat();
      return waiting.length === 0;
    },
    { timeoutMs: 30_000, intervalMs: 250, what: 'devices to be told that their results are stored' },
  );
}

/** At once, with a result of the command's type. */
export const usualWork: Work = ({ type, args }) => {
  if (type === 'sync') return { revision: 'r1' };
  if (type === 'task.start') return { exitStatus: 0, output: 'done' };
  if (type === 'task.stop') return { wasRunning: false };
  if (type === 'statistics') return { uptimeSeconds: 1 };
  return { echo: (args as { body?: unknown }).body };
};

/** Work that takes a random time, spread evenly, milliseconds: so that a fleet is never done all at once. */
export function workFor(minMs: number, maxMs: number): Work {
  return async (command, context, device) => {
    await new Promise((resolve) => setTimeout(resolve, minMs + Math.random() * (maxMs - minMs)));
    return usualWork(command, context, device);
  };
}

export interface Gate {
  /** Waits until `open` is called. */
  readonly work: Work;
  open(): void;
}

/** Work that goes on until a test lets it end; it does not listen when it is asked to stop. */
export function gate(): Gate {
  let open: () => void = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return {
    work: async (command, context, device) => {
      await opened;
      return usualWork(command, context, device);
    },
    open,
  };
}

/** Work that never ends by itself, and ends at once when it is asked to. */
export const workUntilStopped: Work = (_command, { signal }) =>
  new Promise((_, reject) => {
    const stop = () => reject(signal.reason);
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
  });
