import type { ExecutionKey } from './store.ts';

/** A map with executions as keys, without turning them into text. */
export class ByExecution<T> {
  readonly #commands = new Map<string, Map<string, T>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get({ command, device }: ExecutionKey): T | undefined {
    return this.#commands.get(command)?.get(device);
  }

  set({ command, device }: ExecutionKey, value: T): void {
    let devices = this.#commands.get(command);
    if (!devices) {
      devices = new Map();
      this.#commands.set(command, devices);
    }
    const before = devices.size;
    devices.set(device, value);
    this.#size += devices.size - before;
  }

  /** Grouped by command, each in the order in which it first came. */
  values(): T[] {
    const all: T[] = [];
    for (const devices of this.#commands.values()) for (const value of devices.values()) all.push(value);
    return all;
  }
}
