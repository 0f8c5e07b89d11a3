import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { GatewayView } from '../../cli/api/views.ts';
import { MemoryStore } from '../../device/index.ts';
import { startCli } from '../services/processes.ts';
import { freePort, waitFor } from '../wait.ts';
import { gate, TestDevice, workUntilStopped } from './fleet.ts';
import { withLab } from './lab.ts';
import { Wire } from './wire.ts';

const { testLab } = withLab({ bus: 'redis' });

testLab('what waited for a device is delivered on whichever gateway it returns to', async (lab) => {
  const device = await lab.device();
  const first = device.gateway as string;
  await device.stop();
  await lab.operator.onRecord(device, 'disconnected');
  const { id } = await lab.operator.send('task.start', [device]);
  await lab.deployment.end(first);
  await device.start();
  await lab.operator.reaches(id, device, 'succeeded');
  assert.is.not(device.gateway, first);
  assert.is(device.started(id), 1);
  await lab.deployment.start(first);
  await lab.gatewaysUp();
});

testLab(
  'G-4: what runs goes on while the device moves, and its end is said on the other gateway',
  async (lab) => {
    const device = await lab.device();
    const hold = gate();
    device.work = hold.work;
    const first = device.gateway as string;
    const { id } = await lab.operator.send('task.start', [device]);
    await lab.operator.reaches(id, device, 'running');
    await lab.deployment.kill(first);
    await waitFor(() => device.connected && device.gateway !== first, { what: 'the device to move' });
    hold.open();
    await lab.operator.reaches(id, device, 'succeeded');
    assert.is(device.started(id), 1);
    await lab.deployment.start(first);
    await lab.gatewaysUp();
  },
);

testLab(
  'D-4: a gateway that dies between delivery and the first report has the command sent again, and it runs ' +
    'once',
  async (lab) => {
    const wire = new Wire();
    const device = await lab.device({ wire });
    const first = device.gateway as string;
    let dying: Promise<void> | undefined;
    wire.loses = ({ t }) => {
      // A device that ends at once says only its result.
      if (t === 'ack' || t === 'result') dying ??= lab.deployment.kill(first);
      return dying !== undefined && device.gateway === first;
    };
    const { id } = await lab.operator.send('task.start', [device]);
    await waitFor(() => dying !== undefined, { what: 'the first report to be tried' });
    await dying;
    await lab.operator.reaches(id, device, 'succeeded');
    assert.is(device.started(id), 1);
    await lab.deployment.start(first);
    await lab.gatewaysUp();
  },
);

testLab('H-9: a device with two connections, on two gateways, keeps the newer', async (lab) => {
  const device = await lab.device();
  const { state } = await (device.store as MemoryStore).load();
  const other = state.gateways.find(({ name }) => name !== device.gateway);
  if (!other) throw new Error('there is no other gateway');
  const copy = new TestDevice({
    name: 'copy',
    group: 'all',
    store: new MemoryStore({ ...state, gateways: [other] }),
  });
  await copy.start();
  try {
    await waitFor(() => device.closings.length > 0, { what: 'the older session to end' });
    assert.is(device.closings[0]?.code, 4205);
  } finally {
    await copy.stop();
  }
});

testLab(
  'E-7: a device whose list is empty enrols again, with the token that is used up, and gets one that ' +
    'leads somewhere',
  async (lab) => {
    for (const name of ['gw1', 'gw2']) {
      await lab.operator.api.request('PATCH', `/v1/gateways/${name}`, { body: { runPushServer: false } });
    }
    const token = await lab.operator.enrolmentToken('all', 1);
    const lonely = new TestDevice({ name: 'lonely', group: 'all' });
    await lonely.enrol(lab.deployment.server, token);
    const { id } = lonely;
    assert.equal((await lonely.store.load()).state.gateways, []);
    for (const name of ['gw1', 'gw2']) {
      await lab.operator.api.request('PATCH', `/v1/gateways/${name}`, { body: { runPushServer: true } });
    }
    await lab.gatewaysUp();
    await lonely.enrol(lab.deployment.server, token, true);
    lab.devices.push(lonely);
    assert.is(lonely.id, id);
    await lab.connect([lonely]);
    const command = await lab.operator.send('sync', [lonely]);
    await lab.operator.reaches(command.id, lonely, 'succeeded');
  },
);

testLab(
  'E-7, G-16: a device that was enrolled while no gateway served connects once one does, by itself',
  async (lab) => {
    const serving = async (on: boolean) => {
      for (const name of ['gw1', 'gw2']) {
        await lab.operator.api.request('PATCH', `/v1/gateways/${name}`, { body: { runPushServer: on } });
      }
    };
    await serving(false);
    const [early] = await lab.enrolled(1);
    assert.equal((await early?.store.load())?.state.gateways, []);
    await early?.start();
    await serving(true);
    await lab.gatewaysUp();
    await waitFor(() => early?.connected, { timeoutMs: 60_000, what: 'the device to find a gateway' });
  },
);

testLab(
  'G-1, H-10: a drain, its end and another port within moments strand nobody, neither here nor away, ' +
    'and nobody backs off',
  async (lab) => {
    const devices = await lab.fleet(20);
    const away = await lab.fleet(4);
    for (const device of away) await lab.away(device);
    const set = (name: string, body: object) =>
      lab.operator.api.request<GatewayView>('PATCH', `/v1/gateways/${name}`, { body });
    const before = new Map(devices.map((device) => [device, device.closings.length]));
    await lab.operator.api.request('POST', '/v1/gateways/gw1/drain');
    const [held] = devices.filter(({ gateway }) => gateway === 'gw1');
    await waitFor(() => devices.every(({ gateway }) => gateway === 'gw2'), { what: 'all devices on gw2' });
    const gw1 = () => lab.operator.api.request<GatewayView>('GET', '/v1/gateways/gw1');
    const { connectedOnRecord } = await waitFor(
      async () => {
        const view = await gw1();
        return view.state === 'drained' && view.onTheWay === 0 && view;
      },
      { what: 'gw1 to be drained, and nobody on the way' },
    );
    assert.equal([held?.gateway, connectedOnRecord], ['gw2', 0]);
    await lab.operator.api.request('DELETE', '/v1/gateways/gw1/drain');
    const old = await lab.operator.api.request<GatewayView>('GET', '/v1/gateways/gw2');
    const { port } = await set('gw2', { port: await freePort() });
    const now = await waitFor(
      async () => {
        const view = await lab.operator.api.request<GatewayView>('GET', '/v1/gateways/gw2');
        return view.applied && view.told === view.address && view;
      },
      { what: 'gw2 to be told at its new port' },
    );
    assert.is(new URL(now.address).port, String(port));
    assert.equal(
      now.formerPorts.map((former) => former.port),
      [old.port],
    );
    const urls = devices.map((device) => device.sdk.gateways.find(({ name }) => name === 'gw2')?.url);
    await waitFor(() => devices.every((device) => device.connected), { what: 'all devices to be back' });
    await waitFor(
      () =>
        devices.every((device) => {
          const own = device.sdk.session?.gateway;
          return own !== undefined && own.url !== old.address && device.sdk.gateways.length === 2;
        }),
      { what: `every device at an address that is told, with both gateways listed: ${urls.join()}` },
    );
    for (const device of devices) {
      const { told } = await lab.operator.api.request<GatewayView>('GET', '/v1/gateways/gw1');
      const known = device.sdk.gateways.map(({ url }) => url).sort();
      assert.equal(known, [told, now.address].sort());
      for (const { code, reason } of device.closings.slice(before.get(device))) {
        assert.ok([4000, 4001].includes(code) || reason === 'redirected', `${code} ${reason}`);
      }
    }
    // With nothing but the old address of gw2, as if they had been away for weeks.
    for (const device of away) {
      const { state } = await device.store.load();
      await device.store.saveState({
        ...state,
        gateways: [{ name: 'gw2', url: old.address }],
        older: [],
        home: old.address,
      });
      await device.start();
    }
    await waitFor(() => away.every(({ gateway }) => gateway === 'gw2'), { what: 'those who were away' });
    for (const device of away) assert.ok(device.closings.some(({ code }) => code === 4001));
  },
);

testLab(
  'an occupied port is told to nobody: who starts again meanwhile gets in, and after the correction ' +
    'there is nothing to wait for',
  async (lab) => {
    const [device, restarted] = await lab.fleet(2);
    const stranger = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1');
    await once(stranger, 'listening');
    const { port: taken } = stranger.address() as AddressInfo;
    const names = ['gw1', 'gw2'];
    const view = (name: string) => lab.operator.api.request<GatewayView>('GET', `/v1/gateways/${name}`);
    try {
      const before = await Promise.all(names.map(view));
      for (const name of names) {
        await lab.operator.api.request('PATCH', `/v1/gateways/${name}`, { body: { port: taken } });
      }
      await waitFor(async () => (await Promise.all(names.map(view))).every(({ problem }) => problem));
      for (const [i, { told, address }] of (await Promise.all(names.map(view))).entries()) {
        assert.is(told, before[i]?.told);
        assert.is(new URL(address).port, String(taken));
      }
      await restarted?.stop();
      await restarted?.start();
      const newcomer = await lab.device();
      await waitFor(() => restarted?.connected, { what: 'the restarted device' });
      for (const each of [device, restarted, newcomer]) {
        assert.not(each?.sdk.gateways.some(({ url }) => url.endsWith(`:${taken}`)));
      }
      for (const [i, name] of names.entries()) {
        const { port } = before[i] as GatewayView;
        await lab.operator.api.request('PATCH', `/v1/gateways/${name}`, { body: { port } });
      }
      await lab.gatewaysUp();
      assert.ok([device, restarted, newcomer].every((each) => each?.connected));
    } finally {
      stranger.close();
    }
  },
);

testLab(
  'a gateway whose group is unknown says so itself, in its log, at /ready and to operators, and serves ' +
    'once the group is there',
  async (lab) => {
    const [port, metricsPort] = [await freePort(), await freePort()];
    await lab.deployment.letIn('gw9');
    const program = startCli([
      ...[
        'gateway',
        ...lab.deployment.joinFlags('gw9'),
        '--name',
        'gw9',
        '--host',
        '127.0.0.1',
        '--gateway-group',
        'moon',
        '--workers',
        '1',
      ],
      ...[
        '--port',
        String(port),
        '--address',
        `ws://127.0.0.1:${port}`,
        '--metrics-port',
        String(metricsPort),
      ],
      ...['--redis-url', lab.deployment.redis.url, '--log-level', 'warn'],
    ]);
    const ready = async () => {
      const response = await fetch(`http://127.0.0.1:${metricsPort}/ready`);
      return { status: response.status, text: await response.text() };
    };
    const view = () => lab.operator.api.request<GatewayView>('GET', '/v1/gateways/gw9');
    try {
      await waitFor(
        async () => (await ready().catch(() => null))?.text.includes('its group moon does not exist'),
        {
          what: '/ready to say it',
          timeoutMs: 20_000,
        },
      );
      assert.is((await ready()).status, 503);
      await waitFor(() => program.lines.some((line) => line.includes('its group moon does not exist')), {
        what: 'the log to say it',
      });
      const { state, problem, told } = await view();
      assert.equal([state, told], ['problem', null]);
      assert.match(problem ?? '', 'its group moon does not exist');
      assert.ok((await lab.operator.gateways()).items.some(({ name }) => name === 'gw9'));
      const device = await lab.device();
      assert.not(device.sdk.gateways.some(({ name }) => name === 'gw9'));
      await lab.group('moon');
      await waitFor(async () => (await ready()).status === 200, { what: 'the gateway to serve' });
      await waitFor(async () => (await view()).state === 'up');
      assert.is((await view()).problem, undefined);
    } finally {
      await program.stop();
      await waitFor(async () => (await view()).workers.length === 0, { timeoutMs: 20_000 });
      await lab.operator.api.request('DELETE', '/v1/gateways/gw9');
    }
  },
);

testLab('a frozen gateway loses its devices to the other, and does no harm when it wakes', async (lab) => {
  const devices = await lab.fleet(20, { work: workUntilStopped, handshakeTimeoutMs: 2_000 });
  const { id } = await lab.operator.send('task.start', devices);
  await waitFor(() => devices.every((device) => device.started(id) === 1), { what: 'the tasks to run' });
  lab.deployment.freeze('gw1');
  const held = devices.filter(({ gateway }) => gateway === 'gw1');
  for (const device of held) await device.crash();
  for (const device of held) device.work = workUntilStopped;
  for (const device of held) await device.start();
  await waitFor(() => held.every(({ gateway }) => gateway === 'gw2'), {
    timeoutMs: 60_000,
    what: 'the devices to move',
  });
  lab.deployment.thaw('gw1');
  const next = await lab.operator.send('message', devices);
  for (const device of devices) device.work = () => 'heard';
  // Heard of before the cancel, which would otherwise end what the ledger takes for not sent.
  for (const device of held) {
    await waitFor(async () => (await lab.operator.execution(id, device)).reason === 'interrupted', {
      what: `${device.id} to have said that it was interrupted`,
    });
  }
  await lab.operator.cancel(id);
  await lab.operator.finished(next.id);
  await lab.operator.finished(id);
  for (const device of held) {
    // What the sleeper believes of its sessions is older than the sessions on the other gateway (H-9).
    assert.not.ok(device.closings.some(({ code }) => code === 4205));
  }
});

test.run();
