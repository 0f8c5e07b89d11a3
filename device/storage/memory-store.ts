import {
  type DeviceState,
  type DeviceStore,
  type JournalEntry,
  JournalView,
  type StoredDevice,
} from './store.ts';

/** Lives as long as the object: for tests, load tools, and devices that are new at every start. */
export class MemoryStore implements DeviceStore {
  #state: DeviceState;
  readonly #view = new JournalView();

  constructor(state: Partial<DeviceState> = {}) {
    this.#state = { gateways: [], ...state };
  }

  async load(): Promise<StoredDevice> {
    return this.#view.stored(this.#state);
  }

  async saveState(state: DeviceState): Promise<void> {
    this.#state = { ...state };
  }

  async append(entries: JournalEntry[]): Promise<void> {
    for (const entry of entries) this.#view.apply(entry);
  }

  async close(): Promise<void> {}
}
