/**
 * A hundred tunnels of ten streams each over a network that cuts their legs: every byte arrives once and in
 * order.
 */
import { readFile } from 'node:fs/promises';
import * as assert from 'uvu/assert';
import { OperatorTunnel } from '../../../cli/tunnel/operator-tunnel.ts';
import { TUNNEL_LIMITS } from '../../../protocol/index.ts';
import { startFile } from '../../services/processes.ts';
import { freePort, waitFor } from '../../wait.ts';
import { CuttingProxy } from '../cutting-proxy.ts';
import { AnswerCheck, type Order, orderBytes, piecesOf } from '../exchange.ts';
import { randomNumbers } from '../pattern.ts';
import { type Scenario, since, type World } from '../world.ts';

const DEVICES = 10;
const TUNNELS = 100;
const STREAMS = 10;
/** Longest transfer of a stream in one direction; most are much shorter. */
const LONGEST = 600_000;
const CUT_EVERY_MS = 250;
/** One stream in so many is read slowly. */
const SLOW_ONE_IN = 20;
/** What a process may grow by for other reasons than bytes under way. */
const SLACK_BYTES = 64 * 1024 * 1024;

export const manyTunnels: Scenario = {
  name: 'many-tunnels',
  title:
    `${TUNNELS} tunnels of ${STREAMS} streams, both ways, legs cut: every byte once, in order, memory ` +
    'bounded',
  async run(world) {
    const { deployment, say } = world;
    await deployment.group('many');
    const proxyPort = await freePort();
    let gatewayPort = 0;
    const proxy = new CuttingProxy(() => gatewayPort);
    await proxy.start(proxyPort);
    const gateway = await deployment.startGateway('gw-many', 'many', { workers: 2, proxyPort });
    gatewayPort = gateway.port;
    const token = await deployment.enrolmentToken('many', DEVICES);
    const devices = startFile('test/tunnels/many-devices.js', [deployment.server, token, String(DEVICES)]);
    try {
      const ready = await devices.waitForLine(/^ready /, 30_000);
      const { ids, port } = JSON.parse(ready.slice(6)) as { ids: string[]; port: number };
      await waitFor(async () => (await deployment.gateway('gw-many')).connections === DEVICES);
      const began = performance.now();
      const tunnels = await openAll(world, ids, port);
      say(`${TUNNELS} tunnels open, ${since(began)}`);
      const pids = [...(await workersOf(world)), devices.pid];
      const before = await Promise.all(pids.map(memoryOf));
      const peak = [...before];
      const random = randomNumbers(7);
      const cutting = setInterval(() => {
        proxy.cut(() => random(40) === 0);
        void Promise.all(pids.map(memoryOf)).then((now) => {
          for (const [i, bytes] of now.entries()) peak[i] = Math.max(peak[i] ?? 0, bytes);
        });
      }, CUT_EVERY_MS);
      const from = performance.now();
      await Promise.all(tunnels.map((tunnel, n) => fill(world, tunnel, n))).finally(() =>
        clearInterval(cutting),
      );
      say(`${TUNNELS * STREAMS} streams done, ${since(from)}, ${proxy.cuts} legs cut`);
      assert.ok(proxy.cuts > 20, 'legs were cut');
      checkMemory(world, before, peak);
      const resumed = gateway.program.lines.filter((line) => line.includes('"event":"resumed"')).length;
      assert.ok(resumed > 0, 'legs came back');
      world.resumed += resumed;
      await Promise.all(tunnels.map((tunnel) => tunnel.close()));
      // A close that was lost with its leg shows when the gateway has waited for the leg in vain (T-4).
      await waitFor(async () => (await liveTunnels(world)) === 0, {
        timeoutMs: 2 * TUNNEL_LIMITS.holdMs,
        what: 'all tunnels to have ended',
      });
    } finally {
      await devices.stop();
      proxy.stop();
    }
  },
};

async function openAll(
  { deployment, say }: World,
  ids: readonly string[],
  port: number,
): Promise<OperatorTunnel[]> {
  const wishes = Array.from({ length: TUNNELS }, (_, n) => ids[n % ids.length] as string);
  return Promise.all(
    wishes.map(async (deviceId) => {
      const open = () => OperatorTunnel.open({ deviceId, port }, { api: deployment.api, note: () => {} });
      // A hundred at the same moment; the server may ask for patience.
      const tunnel = await waitFor(open, { what: 'a tunnel', intervalMs: 500 });
      void tunnel.ended.then((why) => say(`a tunnel ended: ${why}`));
      return tunnel;
    }),
  );
}

/** Ten streams of one tunnel at the same time. */
async function fill(world: World, tunnel: OperatorTunnel, n: number): Promise<void> {
  const random = randomNumbers(1_000 + n);
  const length = () => Math.floor(LONGEST * (random(1_000) / 1_000) ** 3);
  const streams = Array.from({ length: STREAMS }, (_, i) => {
    const order: Order = {
      seedUp: random(2 ** 31),
      lengthUp: length(),
      seedDown: random(2 ** 31),
      lengthDown: length(),
    };
    const slowMs = random(SLOW_ONE_IN) === 0 ? 5 : 0;
    return exchange(tunnel, order, slowMs).then((fault) => {
      world.checked(order.lengthUp + order.lengthDown, fault, `tunnel ${n}, stream ${i}`);
    });
  });
  await Promise.all(streams);
}

/** One stream; says what was wrong, if anything was. */
function exchange(tunnel: OperatorTunnel, order: Order, slowMs: number): Promise<string | null> {
  return new Promise((resolve) => {
    const check = new AnswerCheck(order);
    const pieces = piecesOf(order);
    tunnel.stream((stream) => {
      const more = () => {
        for (;;) {
          const { value, done } = pieces.next();
          if (done) return stream.end();
          if (!stream.write(value)) return;
        }
      };
      queueMicrotask(() => {
        stream.write(orderBytes(order));
        more();
      });
      return {
        data: (bytes) => {
          check.take(bytes);
          if (slowMs === 0) stream.consumed(bytes.length);
          else setTimeout(() => stream.consumed(bytes.length), slowMs);
        },
        end: () => {
          // What came is looked at when the stream is over.
        },
        writable: more,
        closed: (reset) => resolve(reset ? `${reset.code}: ${reset.reason}` : check.end()),
      };
    });
  });
}

async function liveTunnels({ deployment }: World): Promise<number> {
  return (await deployment.api.list('/v1/tunnels', { state: 'live' }, 1_000)).items.length;
}

async function workersOf({ deployment }: World): Promise<number[]> {
  return (await deployment.gateway('gw-many')).workers.map(({ pid }) => pid);
}

/** Resident, bytes. */
async function memoryOf(pid: number): Promise<number> {
  const match = /^VmRSS:\s+(\d+) kB/m.exec(await readFile(`/proc/${pid}/status`, 'latin1'));
  return Number(match?.[1] ?? 0) * 1024;
}

/**
 * A gateway holds at most a window of each direction of each tunnel; the devices one of each stream, twice
 * (to send and to repeat).
 */
function checkMemory({ say }: World, before: readonly number[], peak: readonly number[]): void {
  const grown = before.map((bytes, i) => (peak[i] ?? 0) - bytes);
  const atDevices = grown.pop() ?? 0;
  const atGateway = grown.reduce((sum, bytes) => sum + Math.max(0, bytes), 0);
  const megabytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
  say(`memory grew by ${megabytes(atGateway)} at the gateway, ${megabytes(atDevices)} at the devices`);
  const { tunnelWindow, streamWindow } = TUNNEL_LIMITS;
  assert.ok(atGateway < TUNNELS * 2 * tunnelWindow + SLACK_BYTES, `gateway: ${megabytes(atGateway)}`);
  assert.ok(
    atDevices < TUNNELS * STREAMS * 2 * streamWindow + SLACK_BYTES,
    `devices: ${megabytes(atDevices)}`,
  );
}
