import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ApiClient } from '../../cli/api-client.ts';
import { forEachAtOnce } from '../../cli/demo/fleet.ts';
import { EventReader } from '../admin-api/event-reader.ts';
import { startPostgres } from '../services/postgres.ts';
import { type Program, startCli } from '../services/processes.ts';
import { startRedis } from '../services/redis.ts';
import { freePort, waitFor } from '../wait.ts';
import { TestDevice, workFor } from './fleet.ts';
import { allConnected } from './lab.ts';
import { Operator } from './operator.ts';
import { reconcile } from './reconcile.ts';

const DEVICES = 24;
const COMMANDS = 60;

/** One administration server of the site. */
interface Admin {
  program: Program;
  server: string;
  start(): Promise<void>;
}

test('two administration servers share the work, and what one that is killed had accepted the other brings to its end', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'admins-'));
  const redis = await startRedis();
  const postgres = await startPostgres({ fsync: false });
  const databaseUrl = await postgres.createDatabase();
  const programs: Program[] = [];
  const launch = async (args: string[]): Promise<Program> => {
    const program = startCli([...args, '--redis-url', redis.url, '--log-level', 'warn'], { cwd: folder });
    programs.push(program);
    await program.waitForLine(/^ready /, 30_000);
    return program;
  };
  const admin = async (name: string): Promise<Admin> => {
    const port = await freePort();
    const flags = [
      '--data-dir',
      join(folder, name),
      '--api-port',
      String(port),
      '--canary-interval',
      '500ms',
    ];
    const start = () => launch(['admin', ...flags, '--database-url', databaseUrl]);
    const made = {
      program: await start(),
      server: `http://127.0.0.1:${port}`,
      async start() {
        made.program = await start();
      },
    };
    return made;
  };
  const devices: TestDevice[] = [];
  let reader: EventReader | undefined;
  try {
    const first = await admin('a');
    const token = (await readFile(join(folder, 'a', 'admin-token'), 'utf8')).trim();
    const second = await admin('b');
    reader = await EventReader.open(`${second.server}/v1/events`, token);
    const gatewayPort = await freePort();
    await launch([
      ...['gateway', '--name', 'gw1', '--host', '127.0.0.1', '--port', String(gatewayPort)],
      ...['--metrics-port', '0', '--workers', '2', '--address', `ws://127.0.0.1:${gatewayPort}`],
    ]);
    const operators = [first, second].map(
      ({ server }) => new Operator(new ApiClient({ server, token, timeoutMs: 20_000 })),
    );
    const [one, two] = operators as [Operator, Operator];
    await waitFor(async () => (await two.gateways()).items[0]?.state === 'up', { timeoutMs: 20_000 });

    // Enrolled through either, obeying both: they sign with one key.
    const enrolment = await one.enrolmentToken('all', DEVICES);
    for (let n = 0; n < DEVICES; n++) {
      devices.push(new TestDevice({ name: `device-${n}`, group: 'all', work: workFor(0, 150) }));
    }
    await forEachAtOnce([...devices.entries()], 8, ([n, device]) =>
      device.enrol([first, second][n % 2]?.server ?? '', enrolment),
    );
    await forEachAtOnce(devices, 16, (device) => device.start());
    await allConnected(devices);
    await two.connected(DEVICES);

    const receiptsOf = async ({ server }: Admin) => {
      const text = await (await fetch(`${server}/metrics`)).text();
      return [...text.matchAll(/^pushpoint_admin_receipts_total\{[^}]*\} (\d+)/gm)].reduce(
        (sum, match) => sum + Number(match[1]),
        0,
      );
    };
    let alive = true;
    let killed: Promise<void> | undefined;
    for (let n = 0; n < COMMANDS; n++) {
      // A third in, one dies in the middle of it all; whoever calls goes to the other.
      if (n === COMMANDS / 3) {
        await waitFor(async () => (await receiptsOf(first)) > 0 && (await receiptsOf(second)) > 0, {
          what: 'both servers to have applied receipts',
        });
        killed = first.program.kill('SIGKILL').then(() => {
          alive = false;
        });
      }
      const operator = alive && n < COMMANDS / 3 && n % 2 === 0 ? one : two;
      if (n % 10 === 0) await operator.send('sync', devices, { all: true, collapseKey: null });
      else await operator.send('statistics', [devices[n % DEVICES] as TestDevice]);
    }
    await killed;
    for (const operator of operators) {
      for (const { command } of operator.given) await two.finished(command.id, 60_000);
      await reconcile(two, operator.given);
      for (const { command } of operator.given) {
        const { counts } = await two.command(command.id);
        assert.is(counts.succeeded, counts.total, command.id);
      }
    }

    // It is back, and serves again; nobody has told twice of a worker that came, nor of one that never left.
    await first.start();
    const again = await one.send('sync', devices, { all: true, collapseKey: null });
    await two.finished(again.id);
    await waitFor(
      async () => {
        if ((await receiptsOf(first)) === 0) await one.send('sync', devices, { all: true });
        return (await receiptsOf(first)) > 0;
      },
      { timeoutMs: 20_000, intervalMs: 200, what: 'the server that came back to apply receipts' },
    );
    await waitFor(async () => (await fetch(`${first.server}/ready`)).status === 200);
    const count = (type: string) => reader?.events.filter((event) => event.type === type).length;
    assert.equal([count('gateway.created'), count('gateway.up'), count('gateway.down')], [1, 2, 0]);
  } finally {
    reader?.close();
    await Promise.all(devices.map((device) => device.stop()));
    for (const program of programs.reverse()) await program.stop(5_000);
    await redis.stop();
    await postgres.stop();
    await rm(folder, { recursive: true, force: true });
  }
});

test('a second administration server on one SQLite file refuses to start and says who has it; a killed one leaves it free', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'admins-'));
  const redis = await startRedis();
  const args = ['--data-dir', join(folder, 'data'), '--api-port', '0', '--redis-url', redis.url];
  const first = startCli(['admin', ...args], { cwd: folder });
  let third: Program | undefined;
  try {
    await first.waitForLine(/^ready /, 30_000);
    const second = startCli(['admin', ...args], { cwd: folder });
    assert.is((await second.exited).code, 1);
    assert.match(second.output, `in use by another administration server (process ${first.pid} on `);
    assert.ok(first.running);
    await first.kill('SIGKILL');
    third = startCli(['admin', ...args], { cwd: folder });
    await third.waitForLine(/^ready /, 30_000);
  } finally {
    await third?.stop();
    await first.stop();
    await redis.stop();
    await rm(folder, { recursive: true, force: true });
  }
});

test.run();
