import {
  type DeviceEvents,
  type DeviceStore,
  type NodeDeviceOptions,
  PushpointDevice,
} from '../../device/index.ts';
import { ScriptGateway } from './script-gateway.ts';

export interface Fixture {
  gateway: ScriptGateway;
  device: PushpointDevice;
  store: DeviceStore;
  /** Ids whose `sync` handler ran, in order. */
  ran: string[];
  refused: DeviceEvents['order-refused'][];
  disconnected: DeviceEvents['disconnected'][];
  left: DeviceEvents['left'][];
  faults: Error[];
  /** As after a crash: a new device object over the same store. */
  restart(): Promise<void>;
  end(): Promise<void>;
}

export interface FixtureOptions {
  options?: Partial<NodeDeviceOptions>;
  gateway?: ScriptGateway;
  store?: DeviceStore;
  /** Registers handlers; by default `sync` succeeds at once. */
  handlers?: (device: PushpointDevice, ran: string[]) => void;
  /** Waits for the first session; default true. */
  connect?: boolean;
}

/** One device with a session on a scripted gateway; it reconnects within milliseconds. */
export async function fixture(setup: FixtureOptions = {}): Promise<Fixture> {
  const gateway = setup.gateway ?? (await ScriptGateway.start());
  const store = setup.store ?? gateway.store();
  const make = () => {
    const device = new PushpointDevice({
      store,
      reconnect: { baseMs: 10, capMs: 50, nowJitterMs: 5 },
      ...setup.options,
    });
    if (setup.handlers) setup.handlers(device, f.ran);
    else {
      device.handle('sync', (command) => {
        f.ran.push(command.id);
      });
    }
    device.on('order-refused', (event) => f.refused.push(event));
    device.on('disconnected', (event) => f.disconnected.push(event));
    device.on('left', (event) => f.left.push(event));
    device.on('fault', (error) => f.faults.push(error));
    return device;
  };
  const f: Fixture = {
    gateway,
    store,
    device: null as unknown as PushpointDevice,
    ran: [],
    refused: [],
    disconnected: [],
    left: [],
    faults: [],
    async restart() {
      await f.device.stop({ abrupt: true });
      const sessions = gateway.proofs;
      f.device = make();
      await f.device.start();
      await gateway.session(sessions + 1);
    },
    async end() {
      await f.device.stop({ deadlineMs: 100 });
      if (gateway.badResults > 0) throw new Error(`${gateway.badResults} results were not authenticated`);
      await gateway.stop();
      await store.close();
    },
  };
  f.device = make();
  await f.device.start();
  if (setup.connect !== false) await gateway.session();
  return f;
}
