import { test } from 'uvu';
import type { DeviceView } from '../../cli/api/views.ts';
import { forEachAtOnce } from '../../cli/for-each-at-once.ts';
import { Deployment, type DeploymentOptions } from '../deployment/deployment.ts';
import { waitFor } from '../wait.ts';
import { TestDevice, type TestDeviceOptions } from './fleet.ts';
import { Operator } from './operator.ts';
import { reconcile } from './reconcile.ts';

/** A deployment, devices, and an operator who gives commands. */
export class Lab {
  readonly deployment: Deployment;
  readonly operator: Operator;
  readonly devices: TestDevice[] = [];
  readonly #left: TestDevice[] = [];
  readonly #groups = new Set(['all']);
  #made = 0;

  private constructor(deployment: Deployment) {
    this.deployment = deployment;
    this.operator = new Operator(deployment.api);
  }

  static async start(options: DeploymentOptions): Promise<Lab> {
    const lab = new Lab(await Deployment.start(options));
    try {
      await lab.gatewaysUp();
      return lab;
    } catch (error) {
      await lab.stop();
      throw error;
    }
  }

  /** Every gateway of the deployment is up, also by the ledger. */
  async gatewaysUp(): Promise<void> {
    const names = this.deployment.gateways;
    await waitFor(
      async () => {
        const { items } = await this.operator.gateways();
        return names.every((name) => items.some((row) => row.name === name && row.state === 'up'));
      },
      { timeoutMs: 20_000, intervalMs: 50, what: `gateways ${names.join(', ')} to be up` },
    );
  }

  async group(id: string, parentId?: string): Promise<string> {
    if (!this.#groups.has(id)) await this.operator.createGroup(id, parentId);
    this.#groups.add(id);
    return id;
  }

  /** Enrolled devices, not started. */
  async enrolled(count: number, options: Partial<TestDeviceOptions> = {}): Promise<TestDevice[]> {
    const group = options.group ?? 'all';
    const token = await this.operator.enrolmentToken(group, count);
    const devices = Array.from(
      { length: count },
      () => new TestDevice({ name: `device-${++this.#made}`, ...options, group }),
    );
    await forEachAtOnce(devices, 32, (device) => device.enrol(this.deployment.server, token));
    this.devices.push(...devices);
    return devices;
  }

  /** Enrolled devices, connected, also by the ledger. */
  async fleet(count: number, options: Partial<TestDeviceOptions> = {}): Promise<TestDevice[]> {
    const devices = await this.enrolled(count, options);
    await this.connect(devices);
    return devices;
  }

  async device(options: Partial<TestDeviceOptions> = {}): Promise<TestDevice> {
    return (await this.fleet(1, options))[0] as TestDevice;
  }

  async connect(devices: readonly TestDevice[]): Promise<void> {
    await forEachAtOnce(devices, 50, (device) => device.start());
    await allConnected(devices);
    if (devices.length > 20) await this.operator.connected(this.devices.filter((d) => d.connected).length);
    else for (const device of devices) await this.operator.onRecord(device, 'connected');
  }

  /** Stops a device; what is sent to it from now on waits for its return. */
  async away(device: TestDevice): Promise<DeviceView> {
    await device.stop();
    return this.operator.onRecord(device, 'disconnected');
  }

  /** The ledger and the devices agree on everything that was given since the last time. */
  async reconcile(): Promise<void> {
    await reconcile(this.operator);
    this.operator.given.length = 0;
  }

  /** Stops all devices. */
  async dismiss(): Promise<void> {
    const devices = this.devices.splice(0);
    this.#left.push(...devices);
    await Promise.all(devices.map((device) => device.stop()));
    this.operator.given.length = 0;
  }

  /** Deletes what an earlier test left, so that commands to all are for the devices of this one. */
  async tidy(): Promise<void> {
    await forEachAtOnce(this.#left.splice(0), 16, (device) =>
      this.operator.api.request('DELETE', `/v1/devices/${device.id}`),
    );
  }

  async stop(): Promise<void> {
    await Promise.all(this.devices.map((device) => device.stop()));
    await this.deployment.stop();
  }
}

export async function allConnected(devices: readonly TestDevice[], timeoutMs = 60_000): Promise<void> {
  await waitFor(() => devices.every((device) => device.connected), {
    timeoutMs,
    intervalMs: 25,
    what: 'every device to be connected',
  });
}

type Body = (lab: Lab) => Promise<void>;

export interface LabTests {
  /**
   * Registers a test that gets the lab; after it the ledger and the devices must agree, and the devices go.
   */
  testLab(title: string, body: Body): void;
}

/** Tests that share one lab, started before the first of them and stopped after the last. */
export function withLab(options: DeploymentOptions): LabTests {
  let lab: Lab | undefined;
  let failure: unknown;
  test.before(async () => {
    // uvu says nothing of what a hook throws; the tests do.
    lab = await Lab.start(options).catch((error: unknown) => {
      failure = error;
      return undefined;
    });
  });
  test.after(async () => {
    await lab?.stop();
  });
  return {
    testLab(title, body) {
      test(title, async () => {
        if (!lab) throw failure;
        try {
          await lab.tidy();
          await body(lab);
          await lab.reconcile();
        } catch (error) {
          console.error(lab.deployment.lastWords());
          throw error;
        } finally {
          await lab.dismiss();
        }
      });
    },
  };
}
