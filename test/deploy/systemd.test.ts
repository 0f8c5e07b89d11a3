import { execFile } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseDuration } from '../../cli/config/duration.ts';
import { OPTIONS, type OptionSpec, optionsOf, type Program } from '../../cli/config/options.ts';
import { findPrograms, installPackage } from '../services/install.ts';
import { ROOT, read, settingsIn, unitValues } from './deploy-files.ts';

const run = promisify(execFile);
const FOLDER = 'deploy/systemd';

const UNITS: readonly { file: string; instance: string; program: Program; settings: string }[] = [
  { file: 'pushpoint.service', instance: 'pushpoint.service', program: 'start', settings: 'pushpoint.env' },
  {
    file: 'pushpoint-admin.service',
    instance: 'pushpoint-admin.service',
    program: 'admin',
    settings: 'admin.env',
  },
  {
    file: 'pushpoint-gateway@.service',
    instance: 'pushpoint-gateway@gw1.service',
    program: 'gateway',
    settings: 'gateway-gw1.env',
  },
  {
    file: 'pushpoint-agent.service',
    instance: 'pushpoint-agent.service',
    program: 'agent',
    settings: 'agent.env',
  },
];

/** What each drop-in is for. */
const DROP_INS: Record<string, readonly string[]> = {
  'gateway-tls.conf': ['pushpoint-gateway@gw1.service'],
  'api-tls.conf': ['pushpoint-admin.service', 'pushpoint.service'],
  'privileged-port.conf': ['pushpoint-gateway@gw1.service', 'pushpoint.service'],
};

/** systemd before 254 does not know these and says so; the units say what happens then. */
const NEWER = /Unknown key (name )?'(RestartSteps|RestartMaxDelaySec)'/;

async function analyze(...args: string[]): Promise<string> {
  const find = () => findPrograms(['systemd-analyze'], ['/usr/bin', '/bin']);
  let found = await find();
  if (found === undefined) {
    await installPackage('systemd', 'a Linux with systemd');
    found = await find();
  }
  if (found === undefined) throw new Error('systemd was installed, but systemd-analyze is not there');
  const env = { ...process.env, LC_ALL: 'C', SYSTEMD_LOG_LEVEL: 'warning' };
  const { stdout, stderr } = await run(found['systemd-analyze'], args, { env });
  return stdout + stderr;
}

/** The units as installed, an instance for the template, with or without all drop-ins. */
async function installed<T>(dropIns: boolean, use: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'units-'));
  try {
    for (const { file, instance } of UNITS) {
      copyFileSync(join(ROOT, FOLDER, file), join(folder, file));
      if (instance !== file) copyFileSync(join(ROOT, FOLDER, file), join(folder, instance));
    }
    for (const [file, units] of dropIns ? Object.entries(DROP_INS) : []) {
      for (const unit of units) {
        mkdirSync(join(folder, `${unit}.d`), { recursive: true });
        copyFileSync(join(ROOT, FOLDER, file), join(folder, `${unit}.d`, file));
      }
    }
    return await use(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const namesOf = (program: Program) => new Set(optionsOf(program).map((option) => option.env));

for (const dropIns of [false, true]) {
  test(`systemd accepts the units ${dropIns ? 'and their drop-ins' : 'as they are'}`, async () => {
    await installed(dropIns, async (folder) => {
      const paths = UNITS.map(({ instance }) => join(folder, instance));
      const complaints = (await analyze('verify', '--man=no', ...paths)).split('\n');
      assert.equal(
        complaints.filter((line) => line.includes(folder) && !NEWER.test(line)),
        [],
      );
    });
  });
}

test('systemd rates the exposure of every unit as OK: at most 2.0 of 10', async () => {
  await installed(false, async (folder) => {
    for (const { instance } of UNITS) {
      await analyze('security', '--offline=true', '--threshold=20', '--no-pager', join(folder, instance));
    }
  });
});

test('units and their samples set only what their program has, and start it with flags it has', () => {
  for (const { file, program, settings } of UNITS) {
    const unit = read(`${FOLDER}/${file}`);
    const known = namesOf(program);
    const environment =
      unitValues(unit, 'Environment')
        .join(' ')
        .match(/\w+(?==)/g) ?? [];
    const names = [
      ...environment.filter((name) => name !== 'NODE_ENV'),
      ...settingsIn(read(`${FOLDER}/${settings}`)),
    ];
    for (const name of names) assert.ok(known.has(name), `${file}, ${settings}: ${program} has no ${name}`);
    const command = unitValues(unit, 'ExecStart')[0] ?? '';
    assert.match(command, new RegExp(`/dist/cli/main\\.js ${program}( |$)`));
    for (const [, flag] of command.matchAll(/ --([a-z-]+)/g)) {
      assert.ok(
        optionsOf(program).some((option) => option.name === flag),
        `${file}: ${program} has no --${flag}`,
      );
    }
  }
});

test('drop-ins set only what the programs of their units have', () => {
  for (const [file, units] of Object.entries(DROP_INS)) {
    const names =
      unitValues(read(`${FOLDER}/${file}`), 'Environment')
        .join(' ')
        .match(/\w+(?==)/g) ?? [];
    for (const { program } of UNITS.filter(({ instance }) => units.includes(instance))) {
      for (const name of names) assert.ok(namesOf(program).has(name), `${file}: ${program} has no ${name}`);
    }
  }
});

test('every file of deploy/systemd is a unit, a drop-in or a sample that the tests know', () => {
  const known = [
    ...UNITS.flatMap(({ file, settings }) => [file, settings]),
    ...Object.keys(DROP_INS),
    'agent.yaml',
  ];
  assert.equal(readdirSync(join(ROOT, FOLDER)).sort(), known.sort());
});

test('units say when their program is ready and lives, but the one whose tasks could say it too', () => {
  for (const { file, program } of UNITS) {
    const unit = read(`${FOLDER}/${file}`);
    const notify = program !== 'agent';
    assert.equal(unitValues(unit, 'Type'), [notify ? 'notify' : 'exec'], file);
    // systemd-notify is a process of its own, and a start may wait for Redis and PostgreSQL without end.
    assert.equal(unitValues(unit, 'NotifyAccess'), notify ? ['all'] : [], file);
    assert.equal(unitValues(unit, 'WatchdogSec'), notify ? ['120s'] : [], file);
    assert.equal(unitValues(unit, 'TimeoutStartSec'), notify ? ['infinity'] : [], file);
    assert.equal(unitValues(unit, 'ExecReload'), notify ? ['/bin/kill -HUP $MAINPID'] : [], file);
  }
});

test('systemd waits longer for a stop than the program takes at most', () => {
  for (const { file, program } of UNITS) {
    const option = optionsOf(program).find(({ name }) => name === 'stop-deadline');
    const wait = Number.parseInt(unitValues(read(`${FOLDER}/${file}`), 'TimeoutStopSec')[0] ?? '', 10);
    assert.ok(wait * 1_000 >= (parseDuration(option?.default ?? '') ?? 0) + 10_000, file);
  }
});

test('units with a gateway may open enough files for the default connection limit', () => {
  const limit = (OPTIONS as readonly OptionSpec[]).find(({ name }) => name === 'connection-limit')?.default;
  for (const { file } of UNITS.filter(({ program }) => program === 'start' || program === 'gateway')) {
    const files = Number(unitValues(read(`${FOLDER}/${file}`), 'LimitNOFILE')[0]);
    assert.ok(files * 0.9 >= Number(limit), file);
  }
});

test.run();
