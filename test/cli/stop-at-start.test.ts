// time limit: 360 s
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { joinFlags } from '../deployment/flags.ts';
import { type Program, startCli } from '../services/processes.ts';
import { startRedis } from '../services/redis.ts';

interface Context {
  folder: string;
}

const test = suite<Context>('a stop during the start');
/** Signals of each program, spread over the time that its start takes. */
const POINTS = 8;
/** What a program says that had to be ended: it did not end by itself. */
const FORCED = /ending at once|ending it|did not stop in|: killed/;

test.before((context) => {
  context.folder = mkdtempSync(join(tmpdir(), 'pushpoint-stop-'));
});

test.after(({ folder }) => rmSync(folder, { recursive: true, force: true }));

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** `start` is run again and again, and gets SIGTERM each time a little later than the time before. */
async function stopEverywhere(start: () => Program): Promise<void> {
  const began = performance.now();
  const first = start();
  await first.waitForLine(/^ready/, 30_000);
  const startMs = performance.now() - began;
  const ends = [await first.stop(60_000)];
  const outputs = [first.output];
  for (let point = 0; point < POINTS; point++) {
    const program = start();
    await pause((point * startMs * 1.1) / POINTS);
    ends.push(await program.stop(60_000));
    outputs.push(program.output);
  }
  // Until it has said what it does at a signal, the system ends it.
  const orderly = ends.filter(({ code, signal }) => code === 0 || signal === 'SIGTERM');
  assert.is(orderly.length, ends.length, `${JSON.stringify(ends)}\n${outputs.at(-1)}`);
  for (const output of outputs) assert.not.match(output, FORCED, output);
  assert.ok(ends.some(({ code }) => code === 0));
}

test('everything in one process ends in order, whenever SIGTERM comes', async ({ folder }) => {
  let run = 0;
  await stopEverywhere(() =>
    startCli([
      ...['start', '--api-port', '0', '--port', '0', '--host', '127.0.0.1'],
      ...['--data-dir', join(folder, `data-${run++}`)],
    ]),
  );
});

test('server, gateway and workers end in order whenever SIGTERM arrives', async ({ folder }) => {
  const redis = await startRedis();
  const data = join(folder, 'admin');
  try {
    const common = ['--redis-url', redis.url];
    await stopEverywhere(() => startCli(['admin', '--api-port', '0', '--data-dir', data, ...common]));
    const gateway = [
      ...['gateway', '--name', 'gw1', '--host', '127.0.0.1', '--port', '0', '--workers', '2'],
      ...['--address', 'ws://127.0.0.1:0', ...joinFlags('gw1', data), ...common],
    ];
    const admin = startCli([
      ...['admin', '--api-port', '0', '--data-dir', data, '--join-tokens', 'gw1', ...common],
    ]);
    const joining = startCli(gateway);
    await joining.waitForLine(/^ready/, 30_000);
    await joining.stop();
    await admin.stop();
    await stopEverywhere(() => startCli(gateway));
  } finally {
    await redis.stop();
  }
});

test('an agent ends in order, whenever SIGTERM comes, enrolled or not', async ({ folder }) => {
  const server = startCli([
    ...['start', '--api-port', '0', '--port', '0', '--host', '127.0.0.1'],
    ...['--data-dir', join(folder, 'for-agents')],
  ]);
  try {
    const ready = JSON.parse((await server.waitForLine(/^ready/, 30_000)).slice('ready '.length));
    const tokenProgram = startCli(['enroll-token', '--quiet', '--uses', '100'], {
      env: { PUSHPOINT_SERVER: ready.api, PUSHPOINT_TOKEN_FILE: ready.tokenFile },
    });
    await tokenProgram.exited;
    await tokenProgram.stop();
    const config = join(folder, 'agent.yaml');
    writeFileSync(config, 'tasks:\n  wait: { command: sleep, args: ["600"] }\n');
    let run = 0;
    const env = { PUSHPOINT_SERVER: ready.api, PUSHPOINT_ENROLMENT_TOKEN: tokenProgram.lines[0] ?? '' };
    await stopEverywhere(() =>
      startCli(['agent', '--config', config, '--state', join(folder, `agent-${run++ % 8}`)], { env }),
    );
  } finally {
    await server.stop();
  }
});

test.run();
