import { statfs } from 'node:fs/promises';
import {
  arch,
  availableParallelism,
  freemem,
  hostname,
  loadavg,
  platform,
  release,
  totalmem,
  uptime,
} from 'node:os';
import type { PushpointDevice } from '../index.ts';
import type { Tasks } from './tasks.ts';

/** The machine's figures and the agent's own: sizes in bytes, times in seconds. */
export async function statistics(
  device: PushpointDevice,
  tasks: Tasks,
  { stateDir, software }: { stateDir: string; software: string },
): Promise<Record<string, unknown>> {
  const disk = await statfs(stateDir);
  const { session } = device;
  return {
    hostname: hostname(),
    platform: platform(),
    release: release(),
    arch: arch(),
    uptimeSeconds: Math.round(uptime()),
    loadAverage: loadavg().map((load) => Math.round(load * 100) / 100),
    cpuCount: availableParallelism(),
    memory: { total: totalmem(), free: freemem() },
    disk: { total: disk.blocks * disk.bsize, free: disk.bavail * disk.bsize },
    agent: { software, rss: process.memoryUsage.rss(), uptimeSeconds: Math.round(process.uptime()) },
    tasks: tasks.running(),
    executions: device.counts(),
    connection: session && {
      gateway: session.gateway.name,
      sinceSeconds: Math.round((Date.now() - session.since) / 1000),
    },
  };
}
