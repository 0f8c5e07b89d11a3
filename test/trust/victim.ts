/** A device that is attacked, and what it says of being out of service. */
import type { TestDevice } from '../e2e/fleet.ts';
import { Wire } from '../e2e/wire.ts';
import { waitFor } from '../wait.ts';
import type { Success } from './success.ts';

/** The longest pause without a signed order (C-2), milliseconds. */
const LONGEST_PAUSE_MS = 3_600_000;
/** A pause that is longer is cut short here: the device would come back by itself. */
const WAITED_MS = 500;

export class Victim {
  readonly device: TestDevice;
  readonly wire: Wire;
  /** Names of the gateways that admitted it since it is watched, in order. */
  readonly visited: string[] = [];
  /** Of the newest membership that it took since then. */
  groups: readonly string[] = [];
  #gone: string | null = null;

  constructor(device: TestDevice, wire = device.options.wire ?? new Wire()) {
    this.device = device;
    this.wire = wire;
  }

  get id(): string {
    return this.device.id;
  }

  /** Why it is out of service. */
  get gone(): Success {
    return this.#gone;
  }

  /** What was so far was as it should be. */
  forgive(): void {
    this.#gone = null;
  }

  /** Listens to a device that was started. */
  watch(): void {
    const { sdk } = this.device;
    sdk.on('left', ({ state }) => this.#leaves(`it left: ${state}`));
    sdk.on('connected', ({ gateway }) => this.visited.push(gateway.name));
    sdk.on('membership', ({ state, groups }) => {
      this.groups = groups;
      if (state !== 'active') this.#leaves(`it is ${state}`);
    });
    sdk.on('disconnected', ({ code, retryInMs }) => {
      if (retryInMs === null || retryInMs > LONGEST_PAUSE_MS) this.#leaves(`it stays away after ${code}`);
      else if (retryInMs > WAITED_MS) setTimeout(() => this.#hurry(), WAITED_MS);
    });
  }

  /** Resolves once a connection of it ended with this code. */
  async closed(code: number): Promise<void> {
    await waitFor(() => this.device.closings.some((each) => each.code === code), {
      what: `${this.device.name} to be closed with ${code}`,
    });
  }

  /** Whether it is out of service for good; otherwise it has a session when this resolves. */
  async outOfService(): Promise<Success> {
    await waitFor(() => this.#gone !== null || this.device.connected, {
      timeoutMs: 20_000,
      what: `${this.device.name} to return`,
    }).catch((error: Error) => this.#leaves(error.message));
    return this.#gone;
  }

  #leaves(why: string): void {
    this.#gone ??= `${this.device.name} is out of service: ${why}`;
  }

  #hurry(): void {
    try {
      this.device.sdk.connectNow();
    } catch {
      // It was stopped meanwhile.
    }
  }
}
