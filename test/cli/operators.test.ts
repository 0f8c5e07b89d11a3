/**
 * What people expect of a command line: questions, defaults in the help, errors that name the mistake, a
 * quick start.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { DeviceView } from '../../cli/api/views.ts';
import { EXIT } from '../../cli/exit-codes.ts';
import { relativeTime, timeAgo } from '../../cli/operator/times.ts';
import { run } from '../../cli/run.ts';
import { startCli } from '../services/processes.ts';
import { commandView, type Handle, json, smallServer, type TestShell, testShell } from './small-server.ts';

interface Answered {
  code: number;
  shell: TestShell;
  asked: string[];
  questions: string[];
}

/** Runs a command with a person at the terminal who answers `yes`; without one where that is left out. */
async function pushpoint(args: string[], handle: Handle, yes?: boolean): Promise<Answered> {
  const server = await smallServer(handle);
  const questions: string[] = [];
  const shell = testShell({ PUSHPOINT_TOKEN: 'ppt_x', PUSHPOINT_SERVER: server.url });
  if (yes !== undefined) {
    Object.assign(shell, {
      interactive: true,
      confirm: async (question: string) => {
        questions.push(question);
        return yes;
      },
    });
  }
  try {
    return { code: await run(args, shell), shell, asked: server.asked, questions };
  } finally {
    await server.stop();
  }
}

const device: DeviceView = {
  id: 'd1',
  name: 'till',
  groupId: 'all',
  platform: 'linux-x64',
  software: 'agent 1',
  state: 'blocked',
  gateway: null,
  worker: null,
  address: null,
  caps: [],
  connectedAt: new Date(Date.now() - 3_600_000).toISOString(),
  disconnectedAt: new Date(Date.now() - 1_800_000).toISOString(),
  closeCode: null,
  closeReason: null,
  policy: null,
  compliance: null,
  displaced: null,
  cloned: null,
  blockedAt: new Date(Date.now() - 600_000).toISOString(),
  createdAt: new Date(Date.now() - 7_200_000).toISOString(),
};

/** A server with so many devices in all, a tenth of them in the group `shops`. */
function fleet(devices: number): Handle {
  const groups = [
    { id: 'all', path: 'all', devices: devices * 0.9 },
    { id: 'shops', path: 'all/shops', devices: devices * 0.05 },
    { id: 'tills', path: 'all/shops/tills', devices: devices * 0.05 },
  ];
  return (request, response) => {
    if (request.method === 'DELETE') {
      response.writeHead(204).end();
      return;
    }
    if (request.url?.endsWith('/move-to')) {
      response.writeHead(204).end();
      return;
    }
    if (request.url?.startsWith('/v1/devices?')) {
      return json(response, 200, { items: [device, { ...device, id: 'd2' }], next: null });
    }
    if (request.method === 'POST') return json(response, 202, commandView());
    if (request.url?.startsWith('/v1/status')) return json(response, 200, { devices: { total: devices } });
    if (request.url?.startsWith('/v1/groups?')) return json(response, 200, { items: groups, next: null });
    if (request.url?.startsWith('/v1/groups/')) return json(response, 200, { id: 'shops' });
    return json(response, 200, device);
  };
}

const changes = ({ asked }: Answered) => asked.filter((line) => !line.startsWith('GET'));

test('a command to more than 1,000 devices asks a person, and does nothing after a no', async () => {
  const no = await pushpoint(['sync', '--all'], fleet(50_000), false);
  assert.equal(no.questions, ['sync reaches 50000 devices. Go on?']);
  assert.is(no.code, EXIT.interrupted);
  assert.equal(changes(no), []);
  const group = await pushpoint(['sync', '--group', 'shops'], fleet(50_000), true);
  assert.equal(group.questions, ['sync reaches 5000 devices. Go on?']);
  assert.equal(changes(group), ['POST /v1/commands']);
});

test('nobody is asked for fewer, with --yes, or where nobody can answer', async () => {
  for (const [args, devices, yes] of [
    [['sync', '--all'], 1_000, false],
    [['sync', '--group', 'shops'], 10_000, false],
    [['sync', '--all', '--yes'], 50_000, false],
    [['sync', '--all'], 50_000, undefined],
  ] as const) {
    const answered = await pushpoint([...args], fleet(devices), yes);
    assert.is(answered.code, EXIT.ok, answered.shell.err);
    assert.equal(answered.questions, []);
    assert.equal(changes(answered), ['POST /v1/commands']);
  }
});

test('a device is deleted after a yes only; a script is not asked', async () => {
  const no = await pushpoint(['devices', 'delete', 'd1'], fleet(1), false);
  assert.match(no.questions[0] ?? '', /Forget d1\?/);
  assert.equal(changes(no), []);
  for (const yes of [true, undefined]) {
    const done = await pushpoint(['devices', 'delete', 'd1'], fleet(1), yes);
    assert.is(done.code, EXIT.ok);
    assert.equal(changes(done), ['DELETE /v1/devices/d1']);
  }
});

test('S-8: a device or a whole group is moved to another installation after a yes', async () => {
  const to = ['--url', 'https://push.example.org', '--fingerprint', 'B'.repeat(43)];
  const no = await pushpoint(['devices', 'move-to', 'd1', ...to], fleet(1), false);
  assert.match(no.questions[0] ?? '', /^Move d1 to https:\/\/push.example.org\?/);
  assert.equal(changes(no), []);
  const group = await pushpoint(['devices', 'move-to', '--group', 'shops', ...to], fleet(2), true);
  assert.is(group.code, EXIT.ok, group.shell.err);
  assert.equal(changes(group), ['POST /v1/devices/d1/move-to', 'POST /v1/devices/d2/move-to']);
  const both = await pushpoint(['devices', 'move-to', 'd1', '--group', 'shops', ...to], fleet(2), true);
  assert.is(both.code, EXIT.usage);
});

test('an unknown command is reported as such, with the list of commands', async () => {
  for (const parent of ['groups', 'devices', 'gateways', 'commands', 'tokens', 'tunnels', 'enroll-token']) {
    const { code, shell, asked } = await pushpoint([parent, 'destroy', 'x'], fleet(1));
    assert.is(code, EXIT.usage);
    assert.match(shell.err, new RegExp(`unknown command 'destroy' of ${parent}; there is .*list`));
    assert.equal(asked, []);
  }
});

test('--help tells the defaults that matter', async () => {
  const sync = await pushpoint(['sync', '--help'], fleet(1));
  const text = sync.shell.out.replaceAll(/\s+/g, ' ');
  assert.match(text, 'replaces undelivered commands with the same key (default: sync)');
  assert.match(text, 'from its acknowledgement (default: 15m)');
  const rehearse = await pushpoint(['rehearse', '--help'], fleet(1));
  assert.match(rehearse.shell.out.replaceAll(/\s+/g, ' '), '(default: 5m)');
});

test('a blocked device is blocked since it was blocked', async () => {
  const { shell } = await pushpoint(['devices', 'block', 'd1'], fleet(1));
  assert.match(shell.out, /State +blocked \(10m(\d+s)? ago\)/);
});

test("what began just now reads so, also where the operator's clock is behind", async () => {
  const now = Date.parse('2026-01-31T12:00:00.000Z');
  const at = (ms: number) => new Date(now + ms).toISOString();
  for (const began of [0, -1, -999, 1, 999, 1_000, 49_000, 86_400_000]) {
    assert.is(timeAgo(at(began), now), 'now', `${began}`);
  }
  assert.equal(
    [-1_000, -1_999, -49_000, -59_999].map((ms) => timeAgo(at(ms), now)),
    ['1s ago', '1s ago', '49s ago', '59s ago'],
  );
  assert.is(timeAgo(null, now), '-');
  assert.is(relativeTime(at(7_200_000), now), 'in 2h');

  const blocked = { ...device, blockedAt: new Date(Date.now() + 3_600_000).toISOString() };
  const { shell } = await pushpoint(['devices', 'block', 'd1'], (request, response) =>
    request.url?.startsWith('/v1/devices/') ? json(response, 200, blocked) : fleet(1)(request, response, ''),
  );
  assert.match(shell.out, /State +blocked \(now\)/);
});

/** The compiled files that a command loaded, from the folder of the project on. */
async function loadedBy(args: string[], handle: Handle): Promise<string[]> {
  const folder = mkdtempSync(join(tmpdir(), 'loaded-'));
  const server = await smallServer(handle);
  try {
    const program = startCli([...args, '--server', server.url], {
      env: { NODE_V8_COVERAGE: folder, PUSHPOINT_TOKEN: 'ppt_x' },
    });
    assert.is((await program.exited).code, EXIT.ok, program.output);
    return readdirSync(folder).flatMap((file) => {
      const { result } = JSON.parse(readFileSync(join(folder, file), 'utf8')) as {
        result: { url: string }[];
      };
      return result.flatMap(({ url }) => /.*\/((?:node_modules|dist)\/.+)$/.exec(url)?.[1] ?? []);
    });
  } finally {
    await server.stop();
    rmSync(folder, { recursive: true });
  }
}

test("operators' commands load neither servers, schemas, the codec nor the device SDK", async () => {
  const loaded = await loadedBy(['devices', 'list'], fleet(2));
  assert.ok(loaded.includes('dist/cli/run.js'), loaded.join('\n'));
  // The names of states, defaults and limits, and the way through a proxy, are shared.
  const own = /^dist\/(cli\/|protocol\/(?!index|codec|msgpack)|device\/platform\/proxy-node)/;
  const others = /^node_modules\/(commander|nanoid)\//;
  assert.equal(
    loaded.filter((path) => !own.test(path) && !others.test(path)),
    [],
  );
});

test.run();
