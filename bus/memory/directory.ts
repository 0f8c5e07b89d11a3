import { nanoid } from 'nanoid';
import {
  type Directory,
  type DirectoryDevice,
  type DirectoryGateway,
  DirectoryIncomplete,
  type DirectoryList,
  type DirectoryState,
  type DirectoryWriting,
} from '../bus.ts';
import { Hints } from './hints.ts';

const GATEWAYS = 'gateways';

type Devices = Map<string, DirectoryDevice>;

export class MemoryDirectory implements Directory {
  #whole: { generation: string; devices: Devices } | null = null;
  #writing: { generation: string; devices: Devices } | null = null;
  readonly #gateways = new Map<string, DirectoryGateway>();
  readonly #lists = new Map<string, DirectoryList>();
  #mark: string | null = null;
  readonly #hints = new Hints();
  readonly #assertRunning: () => void;

  constructor(assertRunning: () => void) {
    this.#assertRunning = assertRunning;
  }

  async look(): Promise<DirectoryState> {
    this.#assertRunning();
    return {
      generation: this.#whole?.generation ?? null,
      devices: (this.#whole ?? this.#writing)?.devices.size ?? 0,
      writing: this.#writing !== null,
      ...(this.#whole === null && { problem: 'the directory is not written yet' }),
    };
  }

  /** Only one process uses it, so a new write simply starts over. */
  async begin({ clear = false } = {}): Promise<DirectoryWriting> {
    this.#assertRunning();
    if (clear) this.#whole = null;
    const writing = { generation: nanoid(12), devices: new Map() };
    this.#writing = writing;
    const assertOwn = () => {
      this.#assertRunning();
      if (this.#writing !== writing) throw new DirectoryIncomplete('somebody else writes the directory');
    };
    return {
      put: async (devices) => {
        assertOwn();
        for (const device of devices) this.#set(device.id, device);
      },
      finish: async () => {
        assertOwn();
        this.#whole = writing;
        this.#writing = null;
        return writing.generation;
      },
    };
  }

  /** A process cannot be cut off from its own memory. */
  async vouch(): Promise<void> {
    this.#assertRunning();
  }

  async putDevices(devices: readonly DirectoryDevice[]): Promise<void> {
    this.#assertRunning();
    for (const device of devices) this.#set(device.id, device);
  }

  async removeDevices(ids: readonly string[]): Promise<void> {
    this.#assertRunning();
    for (const id of ids) this.#set(id, null);
  }

  async devices(ids: readonly string[]): Promise<(DirectoryDevice | null)[]> {
    this.#assertRunning();
    const whole = this.#whole;
    if (whole === null) throw new DirectoryIncomplete('the directory is not written yet');
    return ids.map((id) => whole.devices.get(id) ?? null);
  }

  async setGateways(gateways: readonly DirectoryGateway[]): Promise<void> {
    this.#assertRunning();
    this.#gateways.clear();
    await this.putGateways(gateways);
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

  async putLists(lists: readonly DirectoryList[]): Promise<void> {
    this.#assertRunning();
    for (const list of lists) this.#lists.set(list.group, list);
  }

  async markLists(mark: string, groups: ReadonlySet<string>): Promise<void> {
    this.#assertRunning();
    for (const group of this.#lists.keys()) if (!groups.has(group)) this.#lists.delete(group);
    this.#mark = mark;
    this.#hints.announce(GATEWAYS);
  }

  async listsMark(): Promise<string | null> {
    this.#assertRunning();
    return this.#mark;
  }

  async lists(groups: readonly string[]): Promise<(DirectoryList | null)[]> {
    this.#assertRunning();
    return groups.map((group) => this.#lists.get(group) ?? null);
  }

  async onGatewaysChange(onChange: () => void): Promise<() => Promise<void>> {
    this.#assertRunning();
    const off = this.#hints.on(GATEWAYS, onChange);
    return async () => off();
  }

  stop(): void {
    this.#hints.clear();
  }

  #set(id: string, device: DirectoryDevice | null): void {
    for (const each of [this.#whole, this.#writing]) {
      if (device) each?.devices.set(id, device);
      else each?.devices.delete(id);
    }
  }
}
