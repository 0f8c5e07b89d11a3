import { type Directory, type DirectoryDevice, type DirectoryGateway, DirectoryIncomplete } from '../bus.ts';
import { Hints } from './hints.ts';

const GATEWAYS = 'gateways';

export class MemoryDirectory implements Directory {
  readonly #devices = new Map<string, DirectoryDevice>();
  readonly #gateways = new Map<string, DirectoryGateway>();
  readonly #hints = new Hints();
  readonly #assertRunning: () => void;
  #epoch: string | null = null;

  constructor(assertRunning: () => void) {
    this.#assertRunning = assertRunning;
  }

  async epoch(): Promise<string | null> {
    this.#assertRunning();
    return this.#epoch;
  }

  async setEpoch(epoch: string): Promise<void> {
    this.#assertRunning();
    this.#epoch = epoch;
  }

  async putDevices(devices: readonly DirectoryDevice[]): Promise<void> {
    this.#assertRunning();
    for (const device of devices) this.#devices.set(device.id, device);
  }

  async removeDevices(ids: readonly string[]): Promise<void> {
    this.#assertRunning();
    for (const id of ids) this.#devices.delete(id);
  }

  async devices(ids: readonly string[]): Promise<(DirectoryDevice | null)[]> {
    this.#assertRunning();
    if (this.#epoch === null) throw new DirectoryIncomplete('the directory was not written yet');
    return ids.map((id) => this.#devices.get(id) ?? null);
  }

  async putGateways(gateways: readonly DirectoryGateway[]): Promise<void> {
    this.#assertRunning();
    for (const gateway of gateways) this.#gateways.set(gateway.name, gateway);
    this.#hints.announce(GATEWAYS);
  }

  async removeGateway(name: string): Promise<void> {
    this.#assertRunning();
    this.#gateways.delete(name);
    this.#hints.announce(GATEWAYS);
  }

  async gateways(): Promise<DirectoryGateway[]> {
    this.#assertRunning();
    return [...this.#gateways.values()];
  }

  async onGatewaysChange(onChange: () => void): Promise<() => Promise<void>> {
    this.#assertRunning();
    const off = this.#hints.on(GATEWAYS, onChange);
    return async () => off();
  }

  stop(): void {
    this.#hints.clear();
  }
}
