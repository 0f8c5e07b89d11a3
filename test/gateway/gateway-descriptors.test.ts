import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
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

test('connections that never become WebSockets do not make a worker spin at its descriptor limit', () =>
  withGateway(1, async (gateway) => {
    const [device] = await gateway.connect(1);
    const pid = (await worker(gateway, 0)).pid ?? 0;
    limitDescriptors(pid);
    await waitFor(async () => (await gateway.leases())[0]?.load.limit === LIMIT * 0.9 - 40);
    const sockets: Socket[] = Array.from({ length: 2 * LIMIT }, () =>
      connect(gateway.settings.port, '127.0.0.1').on('error', () => {}),
    );
    await waitFor(async () => (await worker(gateway, 0)).full);
    const share = await cpuShare(pid, 1_500);
    assert.ok(share < 0.4, `${share} of a core`);
    device?.send({ t: 'beat' });
    await device?.take('beat');
    for (const socket of sockets) {
      if (socket.closed) continue;
      socket.destroy();
      await once(socket, 'close');
    }
    await gateway.until(({ workers }) => workers.every(({ port, full }) => port && !full));
    await gateway.connect(3);
    assert.is(device?.closing, null);
  }));

test.run();
