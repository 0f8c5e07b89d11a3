// time limit: 480 s
/** The package `pushpoint` as people install it. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Program } from '../services/processes.ts';

const exec = promisify(execFile);
const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'root-package-'));
const installed = join(folder, 'node_modules/pushpoint');
const command = join(folder, 'node_modules/.bin/pushpoint');
let files: string[] = [];

const run = async (program: string, args: string[], cwd = folder) =>
  (await exec(program, args, { cwd, maxBuffer: 64 * 1024 * 1024 })).stdout;
const readManifest = () => JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'));

test.before(async () => {
  const args = ['pack', '--ignore-scripts', '--json', '--pack-destination', folder];
  const [packed] = JSON.parse(await run('npm', args, ROOT));
  files = packed.files.map(({ path }: { path: string }) => path);
  console.log(`pushpoint: ${packed.size} bytes packed, ${packed.unpackedSize} unpacked`);
  writeFileSync(join(folder, 'package.json'), '{ "private": true }');
  const quiet = ['--prefer-offline', '--no-audit', '--no-fund'];
  await run('npm', ['install', ...quiet, join(folder, packed.filename)]);
});
test.after(() => rmSync(folder, { recursive: true, force: true }));

test('it contains the programs and their deployment files, and nothing that only developers need', () => {
  for (const file of [
    'LICENSE',
    'README.md',
    'PROTOCOL.md',
    'protocol/vectors.json',
    'docs/pushpoint.1',
    'deploy/container/compose.yaml',
    'deploy/container/secrets.example/postgres-password',
    'deploy/kubernetes/kustomization.yaml',
    'examples/browser/page.js',
    'dist/cli/main.js',
  ]) {
    assert.ok(files.includes(file), file);
  }
  for (const file of files) assert.not.match(file, /tsbuildinfo|^dist\/(test|bench|scripts)\//);
});

test('all files but the compiled ones are under version control: no local secret is packed', async () => {
  const tracked = new Set((await run('git', ['ls-files', '-z'], ROOT)).split('\0'));
  assert.equal(
    files.filter((file) => !file.startsWith('dist/') && !tracked.has(file)),
    [],
  );
});

test('every source map holds its sources, and every file that names one has it', () => {
  const maps = files.filter((file) => file.endsWith('.map'));
  assert.ok(maps.length > 100);
  for (const file of maps) {
    const { sources, sourcesContent } = JSON.parse(readFileSync(join(installed, file), 'utf8'));
    assert.is(sourcesContent?.length, sources.length, file);
  }
  for (const file of files.filter((name) => name.startsWith('dist/') && name.endsWith('.js'))) {
    const named = /sourceMappingURL=(\S+)\s*$/.exec(readFileSync(join(installed, file), 'utf8'))?.[1];
    assert.ok(named !== undefined && maps.includes(join(file, '..', named)), file);
  }
});

test('its description names a license, keywords and supported versions, and no address', () => {
  const manifest = readManifest();
  assert.is(manifest.license, 'Apache-2.0');
  assert.ok(manifest.keywords.length > 3);
  assert.is(manifest.sideEffects, false);
  assert.match(manifest.engines.node, /^\^20\.\d+\.\d+ \|\| \^22\.\d+\.\d+ \|\| \^24\.\d+\.\d+$/);
  assert.not.match(JSON.stringify(manifest), /https?:|git\+|@[\w-]+\.(com|org|net|io)/);
});

test('the installed command tells its version, and starts a server that obeys', async () => {
  assert.match(await run(command, ['--version']), readManifest().version);
  const ports = ['--api-port', '0', '--port', '0', '--metrics-port', '0'];
  const server = new Program(command, ['start', ...ports], { cwd: folder });
  try {
    const ready = await server.waitForLine(/^ready /, 60_000);
    const { api } = JSON.parse(ready.slice('ready '.length));
    assert.match(await run(command, ['enroll-token', '--quiet', '--server', api]), /^pp1\.\S+\n$/);
    const list = await run(command, ['devices', 'list', '--json', '--server', api]);
    assert.equal(JSON.parse(list).items, []);
    const page = await fetch(`${api}/openapi.json`);
    assert.is(page.status, 200);
  } finally {
    await server.stop();
  }
});

test('what it exports can be imported and required', async () => {
  writeFileSync(
    join(folder, 'program.mjs'),
    `import { PushpointDevice } from 'pushpoint/device';
    import { LIMITS } from 'pushpoint/protocol';
    console.log(typeof PushpointDevice, typeof LIMITS);`,
  );
  assert.is(await run(process.execPath, ['program.mjs']), 'function object\n');
  const required = "console.log(typeof require('pushpoint/device').PushpointDevice)";
  assert.is(await run(process.execPath, ['-e', required]), 'function\n');
});

test('the manual page is where npm looks for it', () => {
  assert.ok(statSync(join(installed, readManifest().man)).size > 1_000);
});

test.run();
