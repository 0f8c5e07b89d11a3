/**
 * Gateways that are unequally far away. The distances are large, so that a busy machine does not blur them.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { PlacementView } from '../../cli/api/views.ts';
import { waitFor } from '../wait.ts';
import type { TestDevice } from './fleet.ts';
import { type Lab, withLab } from './lab.ts';

const [NEAR, NEXT, FAR] = ['gw1', 'gw2', 'gw3'] as const;
const { testLab } = withLab({ bus: 'redis', gateways: 3, distancesMs: [2, 400, 1_200] });

const on = (devices: readonly TestDevice[]) => devices.map(({ gateway }) => gateway ?? 'nowhere').sort();
const all = (devices: readonly TestDevice[], gateway: string) => devices.map(() => gateway);
const placement = (lab: Lab, { id }: TestDevice) =>
  lab.operator.api.get<PlacementView>(`/v1/devices/${id}/placement`);

testLab(
  'devices choose the nearest gateway, and balancing, which moves those that do not measure, leaves ' +
    'them there',
  async (lab) => {
    const devices = await lab.fleet(20);
    assert.equal(on(devices), all(devices, NEAR));
    const strangers = await lab.enrolled(6, { probing: false });
    for (const { store } of strangers) {
      const { state } = await store.load();
      await store.saveState({ ...state, gateways: state.gateways.filter(({ name }) => name === NEAR) });
    }
    await lab.connect(strangers);
    // The proof that balancing was at work.
    await waitFor(() => strangers.filter(({ gateway = NEAR }) => gateway !== NEAR).length >= 2, {
      timeoutMs: 60_000,
      what: 'those that do not measure to be moved',
    }).catch((error) => {
      const closings = JSON.stringify(strangers.map((stranger) => stranger.closings));
      throw new Error(`${error.message}: ${on(strangers)}, ${closings}`);
    });
    assert.equal(on(devices), all(devices, NEAR));
    assert.equal(
      devices.flatMap(({ closings }) => closings),
      [],
    );
    const [device] = devices as [TestDevice];
    const shown = await placement(lab, device);
    assert.is(shown.code, 'nearest');
    assert.match(
      shown.sentence,
      /Gateway gw1 is the nearest that this device measured: gw1 \d+ ms \(gw2 \d+ ms, gw3 \d+ ms\)/,
    );
  },
);

testLab(
  'the nearest killed, devices go to the next nearest, are told apart there, and come back when it is ' +
    'up again',
  async (lab) => {
    const devices = await lab.fleet(12, { probing: { soonMs: 400, confirmMs: 400 } });
    assert.equal(on(devices), all(devices, NEAR));
    const landed: string[] = [];
    for (const { sdk } of devices) sdk.on('connected', ({ gateway }) => landed.push(gateway.name));
    await lab.deployment.kill(NEAR);
    await waitFor(() => devices.every(({ gateway }) => gateway === NEXT), {
      timeoutMs: 60_000,
      what: 'the devices to be on the next nearest',
    });
    assert.not.ok(landed.includes(FAR));
    const [device] = devices as [TestDevice];
    await waitFor(async () => (await placement(lab, device)).code === 'others-unavailable', {
      timeoutMs: 60_000,
      what: 'the reason to be told',
    });
    assert.match(
      (await placement(lab, device)).sentence,
      /nearer ones \(gw1 \d+ ms\): none of those takes devices/,
    );
    await lab.deployment.start(NEAR);
    await waitFor(() => devices.every(({ gateway }) => gateway === NEAR), {
      timeoutMs: 120_000,
      what: 'the devices to be back',
    });
    assert.not.ok(landed.includes(FAR));
    await lab.gatewaysUp();
  },
);

test.run();
