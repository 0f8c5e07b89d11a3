/**
 * One stream flat out, against a plain relay and `ssh -L` between the same ends; and what commands notice of
 * it.
 */
import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { constants, setPriority } from 'node:os';
import * as assert from 'uvu/assert';
import { enroll, MemoryStore, PushpointDevice } from '../../../device/index.ts';
import { Program, startFile } from '../../services/processes.ts';
import { freePort, waitFor } from '../../wait.ts';
import type { Rate } from '../flow-ends.ts';
import type { Scenario, World } from '../world.ts';

const SECONDS = 1.5;
const ROUNDS = 3;
/**
 * Of the throughput of the plain relay. A busy machine slows both ends more than the relay: below this
 * something is broken, not slow.
 */
const LEAST_RATIO = 0.1;
const COMMANDS_PER_SECOND = 50;
const WINDOW_MS = 3_000;
/** How much later 99 of 100 commands may arrive: beyond this they wait for the tunnel itself. */
const MOST_DELAY = 10;
/** The flow yields to everything else, so on a busy machine it takes long to open. */
const OPEN_WITHIN_MS = 180_000;
/** To measure what is judged. */
const ATTEMPTS = 5;

/** From the device, or to it. */
type Way = 'D' | 'U';

export const speed: Scenario = {
  name: 'speed',
  title: `one stream at least ${LEAST_RATIO} x a plain relay; commands within ${MOST_DELAY} x meanwhile`,
  async run(world) {
    const { deployment } = world;
    await deployment.group('speed');
    await deployment.startGateway('gw-speed', 'speed');
    const ends: Program[] = [];
    const start = async (...args: string[]) => {
      const program = startFile('test/tunnels/flow-ends.js', args);
      ends.push(program);
      return { program, ready: (await program.waitForLine(/^ready /, 30_000)).slice(6) };
    };
    try {
      const token = await deployment.enrolmentToken('speed');
      const { program: device, ready } = await start('device', deployment.server, token);
      const { deviceId, port } = JSON.parse(ready) as { deviceId: string; port: number };
      const { ready: relay } = await start('relay', String(port));
      const ratios: number[] = [];
      for (const way of ['D', 'U'] as const) {
        let best = 0;
        // Again where it is missed: what else the machine did may have met one of the two alone.
        for (let attempt = 0; attempt < ATTEMPTS && best < LEAST_RATIO; attempt++) {
          const runs = {
            relay: ['tcp', relay],
            tunnel: ['tunnel', deployment.server, deviceId, String(port)],
          };
          const rates = await measure(world, way, runs, { device });
          best = Math.max(best, rates.tunnel / rates.relay);
        }
        ratios.push(best);
      }
      world.relayRatio = rounded(Math.min(...ratios));
      // From one local port to another, as people use both; twice as many hops as above.
      const agent = await deployment.startAgent('speed-host', 'speed', [port]);
      const local = await deployment.startTunnel(agent.id, port);
      const ssh = await startSshForward(world, port, ends);
      const runs = { 'tunnel -L': ['tcp', String(local.port)], 'ssh -L': ['tcp', String(ssh)] };
      // One round: this is told, not judged.
      const forwards = await measure(world, 'D', runs, { device, rounds: 1 });
      world.sshRatio = rounded(forwards['tunnel -L'] / forwards['ssh -L']);
      yieldToOthers(device);
      const delay = await commandsMeanwhile(world, [
        'tunnel',
        deployment.server,
        deviceId,
        String(port),
        'D',
        '600',
      ]);
      await local.program.kill('SIGINT');
      assert.ok(world.relayRatio >= LEAST_RATIO, `${world.relayRatio} x the plain relay`);
      assert.ok(delay <= MOST_DELAY, `commands took ${delay.toFixed(1)} x as long`);
    } finally {
      for (const program of ends) await program.stop(1_000);
    }
  },
};

async function startSshForward({ ssh }: World, server: number, ends: Program[]): Promise<number> {
  const port = await freePort();
  const forward = ['-L', `127.0.0.1:${port}:127.0.0.1:${server}`, '127.0.0.1'];
  const args = [...ssh.options, '-N', '-o', 'ExitOnForwardFailure=yes', '-p', String(ssh.port), ...forward];
  ends.push(new Program(ssh.ssh, args, {}));
  await waitFor(() => accepts(port), { what: 'ssh -L to listen' });
  return port;
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

/**
 * The ends of a tunnel are other machines than the gateway's and the server's. Here they all share one, and
 * two programs that take all they can get would delay commands by themselves. What remains is what the
 * gateway does to them.
 */
function yieldToOthers({ pid }: Program): void {
  setPriority(pid, constants.priority.PRIORITY_LOW);
}

/**
 * Medians of alternating rounds, bytes per second, so that whatever else the machine does meets all of them.
 */
async function measure<T extends Record<string, string[]>>(
  { deployment, say }: World,
  way: Way,
  runs: T,
  { device, rounds = ROUNDS }: { device: Program; rounds?: number },
): Promise<Record<keyof T, number>> {
  const names = Object.keys(runs);
  const measured = new Map<string, (Rate & { deviceMsPerMb: number })[]>(names.map((name) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const name of names) {
      const args = [...(runs[name] ?? []), way, String(SECONDS)];
      const before = await cpuMs(device);
      const program = startFile('test/tunnels/flow-ends.js', args, { env: deployment.operatorEnv });
      const line = await program.waitForLine(/^rate /, 30_000);
      const rate = JSON.parse(line.slice(5)) as Rate;
      const deviceMsPerMb = ((await cpuMs(device)) - before) / (rate.bytes / 1e6);
      measured.get(name)?.push({ ...rate, deviceMsPerMb });
      await program.stop(1_000);
    }
  }
  const of = (name: string, figure: keyof Rate | 'deviceMsPerMb') =>
    median((measured.get(name) ?? []).map((each) => each[figure]));
  const shown = names.map((name) => {
    const speed = `${name} ${(of(name, 'bytesPerSecond') / 1e6).toFixed(0)} MB/s`;
    const [device, operator] = [of(name, 'deviceMsPerMb'), of(name, 'cpuMsPerMb')];
    return `${speed} (CPU for 1 MB: device ${device.toFixed(2)} ms, operator ${operator.toFixed(2)} ms)`;
  });
  say(`${way === 'D' ? 'from' : 'to'} the device: ${shown.join(', ')}`);
  const medians = names.map((name) => [name, of(name, 'bytesPerSecond')] as const);
  return Object.fromEntries(medians) as Record<keyof T, number>;
}

/** What a process had of the processor so far, milliseconds. */
async function cpuMs({ pid }: Program): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'latin1');
  const [user = 0, system = 0] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13)
    .map(Number);
  // Linux counts hundredths of a second.
  return (user + system) * 10;
}

/**
 * How much later commands arrive while a tunnel of that gateway runs flat out: p99 by p99, the best of a few
 * pairs.
 */
async function commandsMeanwhile(world: World, flow: readonly string[]): Promise<number> {
  const { deployment, say } = world;
  const store = new MemoryStore();
  const token = await deployment.enrolmentToken('speed');
  const { deviceId } = await enroll({ server: deployment.server, token, store, name: 'speed-command' });
  const device = new PushpointDevice({ store });
  const arrived = new Map<string, () => void>();
  device.handle('message', async ({ args }) => {
    arrived.get((args as { topic: string }).topic)?.();
    return {};
  });
  await device.start();
  let best = Number.POSITIVE_INFINITY;
  try {
    await waitFor(async () => (await deployment.gateway('gw-speed')).connections === 3, {
      what: 'all devices',
    });
    const send = (topic: string) => sendCommand(world, deviceId, topic, arrived);
    await commands(send, 1_000);
    for (let attempt = 0; attempt < ATTEMPTS && best > MOST_DELAY; attempt++) {
      const without = await commands(send, WINDOW_MS);
      const program = startFile('test/tunnels/flow-ends.js', flow, { env: deployment.operatorEnv });
      yieldToOthers(program);
      await waitFor(async () => (await deployment.newestTunnel(flow[2] ?? '')).state === 'open', {
        timeoutMs: OPEN_WITHIN_MS,
        what: 'the flow',
      });
      const meanwhile = await commands(send, WINDOW_MS);
      await program.stop(1_000);
      best = Math.min(best, meanwhile.p99 / without.p99);
      const text = ({ p50, p99 }: { p50: number; p99: number }) =>
        `p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms`;
      say(`a command to one device: ${text(without)}; with a tunnel flat out ${text(meanwhile)}`);
    }
  } finally {
    await device.stop();
  }
  return best;
}

/** From the request to the device's handler, milliseconds. */
async function sendCommand(
  { deployment }: World,
  deviceId: string,
  topic: string,
  arrived: Map<string, () => void>,
): Promise<number> {
  const began = performance.now();
  const there = new Promise<number>((resolve) => {
    arrived.set(topic, () => resolve(performance.now() - began));
  });
  const body = { type: 'message', args: { topic }, target: { devices: [deviceId] } };
  await deployment.api.request('POST', '/v1/commands', { body });
  const took = await there;
  arrived.delete(topic);
  return took;
}

let topics = 0;

async function commands(send: (topic: string) => Promise<number>, forMs: number) {
  const count = Math.round((forMs / 1_000) * COMMANDS_PER_SECOND);
  const sent: Promise<number>[] = [];
  for (let i = 0; i < count; i++) {
    sent.push(send(`speed-${++topics}`));
    await new Promise((resolve) => setTimeout(resolve, 1_000 / COMMANDS_PER_SECOND));
  }
  const times = (await Promise.all(sent)).sort((a, b) => a - b);
  const at = (share: number) => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0;
  return { p50: at(0.5), p99: at(0.99) };
}

function median(list: readonly number[]): number {
  return [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)] ?? 0;
}

function rounded(ratio: number): number {
  return Math.round(ratio * 100) / 100;
}
