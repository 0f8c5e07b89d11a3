import * as assert from 'uvu/assert';
import type { CommandView } from '../../cli/operator/views.ts';
import { type TestDevice, workFor } from '../e2e/fleet.ts';
import { allConnected, type Lab } from '../e2e/lab.ts';
import { waitFor } from '../wait.ts';

/** A fleet that works on what it is given, and the middle of that work. */
export class FleetAtWork {
  readonly devices: readonly TestDevice[];
  readonly #lab: Lab;

  private constructor(lab: Lab, devices: readonly TestDevice[]) {
    this.#lab = lab;
    this.devices = devices;
  }

  static async connect(lab: Lab, count: number): Promise<FleetAtWork> {
    // A result that vanished with Redis is said again after this long: a minute where nobody waits for it.
    const resendAfterMs = 3_000;
    return new FleetAtWork(lab, await lab.fleet(count, { work: workFor(200, 3_000), resendAfterMs }));
  }

  begin(): Promise<CommandView> {
    return this.#lab.operator.send('task.start', this.devices, { all: true });
  }

  /** Resolves with a command of which a quarter is done. */
  async underWay(): Promise<CommandView> {
    const command = await this.begin();
    await this.done(command, 0.25);
    return command;
  }

  /** Waits until this share of the devices say that they have done it. */
  async done({ id }: CommandView, share: number): Promise<void> {
    const doneNow = () => this.devices.filter((device) => device.completed(id) === 1).length;
    await waitFor(() => doneNow() >= this.devices.length * share, {
      timeoutMs: 30_000,
      what: `${share * 100} % of the devices to be done`,
    });
  }

  /** Every execution succeeds, ledger and devices agree, and all devices are connected in the end. */
  async allSucceed({ id }: CommandView): Promise<void> {
    const { counts } = await this.#lab.operator.finished(id, 90_000);
    assert.is(counts.succeeded, this.devices.length);
    await allConnected(this.devices);
    await this.#lab.operator.connected(this.devices.length);
    await this.#lab.reconcile();
  }
}

/** Tells which part of a long test runs. */
export function step(text: string): void {
  console.log(`  ${text}`);
}
