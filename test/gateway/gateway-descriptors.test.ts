import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WebSocket } from 'ws';
import { TUNNEL_SUBPROTOCOL } from '../../protocol/index.ts';
import { waitFor } from '../wait.ts';
import { type GatewayProcess, withGateway } from './gateway-process.ts';

const LIMIT = 100;

/** As an administrator would: the limit of a process that runs. */
function limitDescriptors(pid: number): void {
  execFileSync('prlimit', ['--pid', String(pid), `--nofile=${LIMIT}:${LIMIT}`]);
}

/** Processor time of a process so far, milliseconds. */
function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** Share of a core the process uses over `ms`. */
async function cpuShare(pid: number, ms: number): Promise<number> {
  const [before, at] = [cpuMs(pid), performance.now()];
  await new Promise((resolve) => setTimeout(resolve, ms));
  return (cpuMs(pid) - before) / (performance.now() - at);
}

async function worker(gateway: GatewayProcess, index: number) {
  const { workers } = await gateway.readiness();
  const found = workers[index];
  if (!found) throw new Error('no such worker');
  return found;
}

async function cuts(gateway: GatewayProcess): Promise<number> {
  const lines =
    (await gateway.metrics()).match(
      /^pushpoint_gateway_unauthenticated_sockets_closed_total\{.*\} (\d+)$/gm,
    ) ?? [];
  return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}

/** Strangers come from another prefix than the devices. */
const attacks: [string, (port: number) => Socket | WebSocket][] = [
  [
    'connections that never become WebSockets',
    (port) => connect({ port, host: '127.0.0.1', localAddress: '127.0.9.1' }),
  ],
  [
    'WebSockets of tunnels that say nothing',
    (port) =>
      new WebSocket(`ws://127.0.0.1:${port}/tunnel`, TUNNEL_SUBPROTOCOL, { localAddress: '127.0.9.1' }),
  ],
];

for (const [what, attack] of attacks) {
  test(`${what} neither bring a worker to its descriptor limit nor keep devices out`, () =>
    withGateway(1, async (gateway) => {
      const [device] = await gateway.connect(1);
      const pid = (await worker(gateway, 0)).pid ?? 0;
      limitDescriptors(pid);
      await waitFor(async () => (await gateway.leases())[0]?.load.limit === LIMIT * 0.9 - 40);
      const sockets = Array.from({ length: 2 * LIMIT }, () =>
        attack(gateway.settings.port).on('error', () => {}),
      );
      await waitFor(async () => (await cuts(gateway)) > LIMIT);
      const share = await cpuShare(pid, 1_500);
      assert.ok(share < 0.4, `${share} of a core`);
      device?.send({ t: 'beat' });
      await device?.take('beat');
      await gateway.connect(3);
      const { full, port } = await worker(gateway, 0);
      assert.is(full, false);
      assert.is(port, gateway.settings.port);
      for (const socket of sockets) {
        if ('destroy' in socket) socket.destroy();
        else socket.terminate();
      }
      assert.is(device?.closing, null);
    }));
}

test.run();
