/** A device of a rehearsal: the unchanged SDK, over WebSockets that can be cut off from one gateway only. */
import { type Dial, enroll, MemoryStore, PushpointDevice, wsDial } from '../../device/index.ts';
import type { GatewayAddress } from '../../protocol/index.ts';

const SOFTWARE = 'rehearsal/1';

export interface SimulatedDeviceEvents {
  /** Welcomed by a gateway. */
  connected(device: SimulatedDevice, gateway: string): void;
}

export class SimulatedDevice {
  readonly name: string;
  id = '';
  readonly #events: SimulatedDeviceEvents;
  readonly #store = new MemoryStore();
  #device: PushpointDevice | undefined;
  /** Open sockets by the url they were dialed at. */
  readonly #sockets = new Map<ReturnType<Dial>, string>();
  #lost: string | undefined;

  constructor(name: string, events: SimulatedDeviceEvents) {
    this.name = name;
    this.#events = events;
  }

  /** The gateway it is connected to. */
  get gateway(): string | undefined {
    return this.#device?.session?.gateway.name;
  }

  async enrol(server: string, token: string, signal: AbortSignal): Promise<void> {
    const options = { server, token, store: this.#store, name: this.name, software: SOFTWARE, signal };
    this.id = (await enroll(options)).deviceId;
  }

  /** Connects, to `first` before all others. */
  async start(first: GatewayAddress): Promise<void> {
    const { state } = await this.#store.load();
    const others = state.gateways.filter(({ name }) => name !== first.name);
    await this.#store.saveState({ ...state, gateways: [first, ...others] });
    const device = new PushpointDevice({
      store: this.#store,
      software: SOFTWARE,
      dial: this.#dial,
      probing: false,
    });
    // The command that checks whether a device works has an empty body.
    device.handle('message', () => null);
    device.on('connected', ({ gateway }) => this.#events.connected(this, gateway.name));
    // The rehearsal counts what arrives; failures are part of it.
    device.on('fault', () => {});
    this.#device = device;
    await device.start();
  }

  /**
   * From now on nothing answers this device at `url`; an open connection there vanishes without a close
   * frame.
   */
  cutOff(url: string): void {
    this.#lost = canonical(url);
    for (const [socket, at] of this.#sockets) if (at === this.#lost) socket.terminate();
  }

  async stop(): Promise<void> {
    await this.#device?.stop({ abrupt: true });
  }

  readonly #dial: Dial = (url, events) => {
    const at = canonical(url);
    if (at === this.#lost) {
      // Like a port without a listener.
      setImmediate(() => events.closed({ code: 1006, reason: 'cut off for a rehearsal' }));
      return { send: () => {}, close: () => {}, terminate: () => {}, bufferedBytes: 0 };
    }
    const socket = wsDial()(url, {
      ...events,
      opened: () => events.opened(),
      frame: (bytes) => events.frame(bytes),
      closed: (how) => {
        this.#sockets.delete(socket);
        events.closed(how);
      },
    });
    this.#sockets.set(socket, at);
    return socket;
  };
}

function canonical(url: string): string {
  return new URL(url).href;
}
