/**
 * What a device, an admission and an execution cost each part, with PostgreSQL instead of SQLite. The
 * simulation (`scaling`) uses these figures. The parts of an execution are measured one after another: rows
 * for devices that are away, then a command that devices do not read, then one that they answer. Each part
 * costs the difference to the previous step.
 */
import { Redis } from 'ioredis';
import { Client } from 'pg';
import { startPostgres } from '../../test/services/postgres.ts';
import { sharedNow } from '../measure/clock.ts';
import { percentile } from '../measure/percentiles.ts';
import { cpuMsOfTree } from '../measure/processes.ts';
import type { Bench, Scenario } from '../scenario.ts';
import { type CostName, DEVICES_ROW, DURABLE_ROW, REACHED_ROW } from '../simulation/costs.ts';
import { forceSync, sendMessage, whenFinished } from '../site/commands.ts';
import { connectAll, type Fleet, prepareFleet } from '../site/fleet.ts';

const WORKERS = 2;
const ROUNDS = 5;
const REST_MS = 30_000;
/** How long the idle programs are measured for their base load, once the work after their start is done. */
const START_SETTLE_MS = 20_000;
const BASE_MS = 15_000;
/** By then the garbage of the admissions is collected. */
const SETTLE_MS = 30_000;

type Part = 'gateway' | 'admin' | 'redis' | 'sql' | 'load';
type Cpu = Record<Part, number>;

/** CPU of each part so far, milliseconds, minus its base load over the same time. */
type Meter = () => Cpu;

export const costs: Scenario = {
  name: 'costs',
  title: 'what an admission, rest and the parts of an execution cost each program, with PostgreSQL',
  devices: 6_000,
  quickDevices: 500,
  run,
};

async function run(bench: Bench): Promise<void> {
  const postgres = bench.use(await startPostgres());
  const databaseUrl = await postgres.createDatabase();
  const fleet = await prepareFleet(bench, { workers: WORKERS, databaseUrl });
  const sql = bench.use(await database(databaseUrl));
  const redis = new Redis(fleet.site.redisUrl);
  bench.use({ stop: async () => redis.disconnect() });
  const cpu = await meterOf(bench, () => ({
    ...fleet.site.usage().cpuMs,
    sql: cpuMsOfTree(postgres.pid),
    load: fleet.swarm.cpuMs,
  }));
  const tell = (name: CostName, unit: 'µs' | 'bytes', figure: number) => bench.figure(name, unit, figure);
  const { devices } = bench;

  // The first round includes compilation.
  await expansion(bench, fleet, cpu);
  const rows = await expansion(bench, fleet, cpu);
  tell('adminUsPerExpansion', 'µs', rows.admin);
  tell('sqlUsPerExpansion', 'µs', rows.sql);

  const admission = await admissions(bench, fleet, cpu, tell);
  tell('gatewayUsPerAdmission', 'µs', admission.gateway);
  tell('adminUsPerAdmission', 'µs', admission.admin);
  tell('redisUsPerAdmission', 'µs', admission.redis);
  tell('sqlUsPerAdmission', 'µs', admission.sql);
  bench.figure(DEVICES_ROW, 'devices', devices);
  const memory = Number(/used_memory_dataset:(\d+)/.exec(await redis.info('memory'))?.[1]);
  tell('redisBytesPerDevice', 'bytes', memory / devices);

  const beforeRest = cpu();
  await bench.pause(REST_MS);
  tell('gatewayUsPerDeviceMinute', 'µs', ((cpu().gateway - beforeRest.gateway) * 60e6) / REST_MS / devices);

  await answered(bench, fleet, cpu, 1);
  const unread = await unanswered(bench, fleet, cpu);
  const bytesBefore = await sql.bytes();
  const whole = await answered(bench, fleet, cpu, ROUNDS);
  bench.invariant('devices not reached', whole.missed);
  bench.figure(REACHED_ROW, 'ms', whole.reachedMs);
  bench.figure(DURABLE_ROW, 'ms', whole.durableMs);
  tell('sqlBytesPerExecution', 'bytes', ((await sql.bytes()) - bytesBefore) / (ROUNDS * devices));
  const more = (a: number, b: number): number => Math.max(0, a - b);
  tell('adminUsPerDispatch', 'µs', more(unread.admin, rows.admin));
  tell('sqlUsPerDispatch', 'µs', more(unread.sql, rows.sql));
  tell('redisUsPerDispatch', 'µs', unread.redis);
  tell('redisUsPerReceipts', 'µs', more(whole.cpu.redis, unread.redis));
  tell('adminUsPerIngest', 'µs', more(whole.cpu.admin, unread.admin));
  tell('sqlUsPerIngest', 'µs', more(whole.cpu.sql, unread.sql));
  tell('gatewayUsPerExecution', 'µs', whole.cpu.gateway);
  tell('loadUsPerExecution', 'µs', whole.cpu.load);
  tell('redisUsPerAppend', 'µs', await appendCost(redis, cpuOf(fleet)));
}

async function meterOf(bench: Bench, read: Meter): Promise<Meter> {
  await bench.pause(bench.quick ? 500 : START_SETTLE_MS);
  const began = performance.now();
  const before = read();
  await bench.pause(bench.quick ? 1_000 : BASE_MS);
  const after = read();
  const each = 1 / (performance.now() - began);
  return () => {
    const now = read();
    const passed = performance.now() - began;
    for (const part of Object.keys(now) as Part[]) now[part] -= (after[part] - before[part]) * each * passed;
    return now;
  };
}

/** Microseconds for each of `count`, by part. */
function each(before: Cpu, after: Cpu, count: number): Cpu {
  const entries = Object.entries(before).map(([part, ms]) => [
    part,
    ((after[part as Part] - ms) * 1_000) / count,
  ]);
  return Object.fromEntries(entries) as Cpu;
}

/** Rows for devices that are not connected; the dispatcher looks for them once, in vain. */
async function expansion(bench: Bench, { site }: Fleet, cpu: Meter): Promise<Cpu> {
  const before = cpu();
  const id = await sendMessage(site, { all: true }, 16);
  for (;;) {
    const { expanded } = await site.get<{ expanded: boolean }>(`/v1/commands/${id}`);
    if (expanded) break;
    await bench.pause(100);
  }
  await bench.pause(2_000);
  const figures = each(before, cpu(), bench.devices);
  await site.post(`/v1/commands/${id}/cancel`, {});
  await whenFinished(site, id);
  return figures;
}

async function admissions(
  bench: Bench,
  { site, swarm }: Fleet,
  cpu: Meter,
  tell: (name: CostName, unit: 'bytes', figure: number) => void,
): Promise<Cpu> {
  const usage = site.usage();
  const before = cpu();
  const { ready } = await connectAll(bench, swarm);
  bench.invariant('devices not admitted', bench.devices - ready);
  for (const until = performance.now() + 60_000; performance.now() < until; await bench.pause(500)) {
    const status = await site.get<{ devices: { connected: number } }>('/v1/status');
    if (status.devices.connected >= ready) break;
  }
  await bench.pause(2_000);
  const figures = each(before, cpu(), bench.devices);
  await bench.pause(bench.quick ? 500 : SETTLE_MS);
  tell('gatewayBytesPerDevice', 'bytes', (site.usage().pss.gateway - usage.pss.gateway) / bench.devices);
  return figures;
}

/** A command whose devices do not read: sent, and in the kernel's buffers on the devices' side. */
async function unanswered(bench: Bench, { site, swarm }: Fleet, cpu: Meter): Promise<Cpu> {
  await swarm.stall(1);
  const before = cpu();
  const id = await forceSync(site, { all: true });
  // Until no more are sent, but less than the time after which unacknowledged executions are sent again.
  let sent = 0;
  for (const until = performance.now() + 20_000; performance.now() < until; ) {
    await bench.pause(3_000);
    const { counts } = await site.get<{ counts: { sent: number } }>(`/v1/commands/${id}`);
    if (counts.sent === sent) break;
    sent = counts.sent;
  }
  const after = cpu();
  await swarm.stall(0);
  await whenFinished(site, id);
  await swarm.take('arrived');
  bench.say(`${sent} of ${bench.devices} were sent without an answer`);
  return each(before, after, sent);
}

interface Answered {
  cpu: Cpu;
  missed: number;
  /** Of the median round. */
  reachedMs: number;
  durableMs: number;
}

async function answered(bench: Bench, { site, swarm }: Fleet, cpu: Meter, rounds: number): Promise<Answered> {
  const reached: number[] = [];
  const durable: number[] = [];
  let missed = 0;
  await bench.pause(2_000);
  const before = cpu();
  for (let round = 0; round < rounds; round += 1) {
    const began = sharedNow();
    const id = await forceSync(site, { all: true });
    await whenFinished(site, id);
    durable.push(sharedNow() - began);
    const times = (await swarm.take('arrived')).get(id) ?? new Float64Array();
    missed += bench.devices - times.length;
    reached.push(percentile(times, 1) - began);
    await bench.pause(1_000);
  }
  const figures = each(before, cpu(), rounds * bench.devices);
  const median = (values: number[]) =>
    percentile(
      values.sort((a, b) => a - b),
      0.5,
    );
  return { cpu: figures, missed, reachedMs: median(reached), durableMs: median(durable) };
}

const cpuOf =
  ({ site }: Fleet) =>
  () =>
    site.usage().cpuMs.redis;

/** The work of the outboxes' script with a frame the size of an order, on separate keys. */
async function appendCost(redis: Redis, redisCpuMs: () => number): Promise<number> {
  const appends = 20_000;
  const script = `redis.call('XADD', KEYS[1], 'MAXLEN', '~', 1000, '*', 'd', ARGV[1])
    redis.call('PEXPIRE', KEYS[1], 60000)
    return redis.call('PUBLISH', KEYS[1], '')`;
  const sha = String(await redis.script('LOAD', script));
  const frame = Buffer.alloc(300);
  const before = redisCpuMs();
  for (let done = 0; done < appends; done += 500) {
    const pipeline = redis.pipeline();
    for (let at = 0; at < 500; at += 1) pipeline.evalsha(sha, 1, `bench:${at}`, frame);
    await pipeline.exec();
  }
  return ((redisCpuMs() - before) * 1_000) / appends;
}

async function database(url: string): Promise<{ bytes(): Promise<number>; stop(): Promise<void> }> {
  const client = new Client({ connectionString: url });
  await client.connect();
  return {
    bytes: async () => {
      const { rows } = await client.query<{ bytes: string }>(
        'select pg_database_size(current_database()) as bytes',
      );
      return Number(rows[0]?.bytes);
    },
    stop: () => client.end(),
  };
}
