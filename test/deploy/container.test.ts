import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parse } from 'yaml';
import { parseDuration } from '../../cli/config/duration.ts';
import { loadConfig } from '../../cli/config/load.ts';
import { optionsOf, PROGRAMS, type Program as ProgramName } from '../../cli/config/options.ts';
import { type Program, startCli } from '../services/processes.ts';
import { freePort, waitFor } from '../wait.ts';
import { ROOT, read, settingsIn } from './deploy-files.ts';

const run = promisify(execFile);
const FOLDER = 'deploy/container';

interface Service {
  image: string;
  build?: { context: string; dockerfile: string };
  command: string[];
  environment?: Record<string, string>;
  secrets?: (string | { source: string; target: string })[];
  depends_on?: Record<string, unknown>;
  networks: string[];
  volumes?: string[];
  ulimits?: { nofile: { soft: number; hard: number } };
  stop_grace_period: string;
  mem_limit: string;
  healthcheck?: { test: string[] };
}

const compose = parse(read(`${FOLDER}/compose.yaml`), { merge: true }) as {
  services: Record<string, Service>;
  networks: Record<string, unknown>;
  volumes: Record<string, unknown>;
  secrets: Record<string, { file: string }>;
};
const services = Object.entries(compose.services);
const ours = services.filter(([, { image }]) => image.startsWith('pushpoint'));
const containerfile = read(`${FOLDER}/Containerfile`);

test('what compose.yaml refers to exists: networks, volumes, secrets, services, files', () => {
  for (const [name, service] of services) {
    for (const network of service.networks) assert.ok(network in compose.networks, `${name}: ${network}`);
    for (const volume of service.volumes ?? []) {
      assert.ok((volume.split(':')[0] ?? '') in compose.volumes, `${name}: ${volume}`);
    }
    for (const secret of service.secrets ?? []) {
      const source = typeof secret === 'string' ? secret : secret.source;
      assert.ok(source in compose.secrets, `${name}: ${source}`);
    }
    for (const other of Object.keys(service.depends_on ?? {})) assert.ok(other in compose.services);
    if (service.build) {
      assert.ok(existsSync(join(ROOT, FOLDER, service.build.context, service.build.dockerfile)));
    }
  }
  for (const { file } of Object.values(compose.secrets)) {
    assert.ok(existsSync(join(ROOT, FOLDER, file.replace('./secrets/', 'secrets.example/'))), file);
  }
});

test('variables that compose.yaml asks for stand in example.env, and no others', () => {
  const asked = [...read(`${FOLDER}/compose.yaml`).matchAll(/\$\{([A-Z0-9_]+)/g)].map((match) => match[1]);
  assert.equal(settingsIn(read(`${FOLDER}/example.env`)).sort(), asked.sort());
});

test('each program is given settings it has, and with its sample secrets they are whole and valid', () => {
  assert.equal(ours.map(([name]) => name).sort(), ['admin', 'gateway1', 'gateway2']);
  for (const [name, service] of ours) {
    const program = service.command[0] as ProgramName;
    const known = new Set(optionsOf(program).map((option) => option.env));
    const env = { ...service.environment };
    for (const key of Object.keys(env)) assert.ok(known.has(key), `${name}: ${program} has no ${key}`);
    const secret = service.secrets?.find((each) => typeof each !== 'string');
    assert.is(env.PUSHPOINT_CONFIG, `/run/secrets/${secret?.target}`);
    env.PUSHPOINT_CONFIG = join(ROOT, FOLDER, 'secrets.example', secret?.source ?? '');
    if (program === 'gateway') env.PUSHPOINT_GATEWAY_ADDRESS = 'ws://example.net:13295';
    loadConfig(program, { flags: {}, env });
  }
});

test('the image sets only variables that its programs have', () => {
  const known = new Set(PROGRAMS.flatMap((program) => optionsOf(program).map((option) => option.env)));
  const names = [...containerfile.matchAll(/\b(PUSHPOINT_[A-Z_]+|REDIS_URL|DATABASE_URL)=/g)];
  for (const [, name = ''] of names) assert.ok(known.has(name), name);
});

test('the image is built from files that are there and not left out of the context', () => {
  const context = read(`${FOLDER}/Containerfile.dockerignore`);
  const copies = [...containerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)];
  for (const source of copies.flatMap((match) => (match[1] ?? '').split(' '))) {
    assert.ok(existsSync(join(ROOT, source)), source);
    assert.match(context, new RegExp(`^!${source}$`, 'm'));
  }
});

test('the image runs as an unprivileged user and says whether it lives', () => {
  assert.match(containerfile, /^USER [1-9]\d*:[1-9]\d*$/m);
  assert.match(containerfile, /^HEALTHCHECK [^\n]*\n +CMD .*healthcheck\.mjs/m);
  assert.not.match(containerfile, /curl|wget|^ADD /m);
});

test('every service has bounds, and a program time to stop in order', () => {
  for (const [name, service] of services) {
    assert.ok(service.mem_limit, `${name}: mem_limit`);
    if (!ours.some(([own]) => own === name)) assert.ok(service.healthcheck, `${name}: healthcheck`);
  }
  for (const [name, service] of ours) {
    const options = optionsOf(service.command[0] as ProgramName);
    const fallback = (setting: string) => options.find((option) => option.name === setting)?.default ?? '';
    const grace = parseDuration(service.stop_grace_period) ?? 0;
    assert.ok(grace >= (parseDuration(fallback('stop-deadline')) ?? 0) + 10_000, name);
    if (service.command[0] === 'gateway') {
      assert.ok((service.ulimits?.nofile.hard ?? 0) * 0.9 >= Number(fallback('connection-limit')), name);
    }
  }
});

test('Redis refuses when it is full and keeps what it was told', () => {
  const command = compose.services.redis?.command.join(' ') ?? '';
  assert.match(command, /--appendonly yes/);
  assert.match(command, /--maxmemory-policy noeviction/);
});

test('the health check passes while the program lives, waiting for Redis or not, and only then', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'health-'));
  const file = join(folder, 'ready.json');
  const apiPort = String(await freePort());
  const env = {
    PUSHPOINT_READY_FILE: file,
    PUSHPOINT_API_LISTEN_PORT: apiPort,
    PUSHPOINT_METRICS_LISTEN_PORT: String(await freePort()),
  };
  const check = () =>
    run(process.execPath, [join(ROOT, FOLDER, 'healthcheck.mjs')], { env: { ...process.env, ...env } }).then(
      () => true,
      () => false,
    );
  const own = ['--api-port', apiPort, '--data-dir', join(folder, 'data'), '--ready-file', file];
  const away = `redis://127.0.0.1:${await freePort()}`;
  const waiting = startCli(['admin', ...own, '--redis-url', away]);
  let program: Program | undefined;
  try {
    assert.is(await check(), false);
    await waiting.waitForLine(/waiting for the bus/);
    await waitFor(check, { what: 'a program that waits to be healthy' });
    await waiting.stop();
    assert.is(await check(), false);
    program = startCli(['start', ...own, '--port', '0', '--metrics-port', '0']);
    await program.waitForLine(/^ready /);
    assert.is(await check(), true);
    await program.kill();
    assert.is(await check(), false);
  } finally {
    await waiting.stop();
    await program?.stop();
    rmSync(folder, { recursive: true });
  }
});

test.run();
