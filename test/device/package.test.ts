// time limit: 400 s
/** The package `@pushpoint/device` as people install it. */
import { execFile } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { nodeVersion } from '../services/node-version.ts';

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const PACKAGE = join(ROOT, 'packages/device');
const folder = mkdtempSync(join(tmpdir(), 'package-'));
const installed = join(folder, 'node_modules/@pushpoint/device');
const tarball: { size: number; filename: string; files: string[] } = { size: 0, filename: '', files: [] };

test.before(async () => {
  const { stdout } = await run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', folder], {
    cwd: PACKAGE,
  });
  const [packed] = JSON.parse(stdout) as { size: number; filename: string; files: { path: string }[] }[];
  if (packed === undefined) throw new Error(stdout);
  Object.assign(tarball, { ...packed, files: packed.files.map(({ path }) => path) });
  mkdirSync(installed, { recursive: true });
  await run('tar', ['-xzf', join(folder, packed.filename), '--strip-components=1', '-C', installed]);
  // Only what the package asks for, as npm would put it there.
  const { dependencies } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'));
  for (const name of [...Object.keys(dependencies), 'msgpackr-extract']) {
    const target = join(folder, 'node_modules', name);
    mkdirSync(join(target, '..'), { recursive: true });
    if (existsSync(join(ROOT, 'node_modules', name))) symlinkSync(join(ROOT, 'node_modules', name), target);
  }
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
});
test.after(() => rmSync(folder, { recursive: true, force: true }));

test('it is small, and holds nothing of gateways and administration servers', () => {
  assert.ok(tarball.size < 200_000, `${tarball.size} bytes`);
  for (const file of tarball.files) {
    assert.match(file, /^(dist\/(device|protocol|tunnel)\/.+\.(js|d\.ts)|package\.json|README\.md|LICENSE)$/);
    assert.not.match(file, /^dist\/device\/agent\//);
  }
  assert.ok(tarball.files.includes('LICENSE') && tarball.files.includes('README.md'));
});

test('its dependencies are those of the whole project, in the same versions', () => {
  const own = JSON.parse(readFileSync(join(PACKAGE, 'package.json'), 'utf8'));
  const whole = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  assert.is(own.version, whole.version);
  for (const [name, version] of Object.entries(own.dependencies)) {
    assert.is(version, whole.dependencies[name], name);
  }
});

test('a program that installs it alone can make a device', async () => {
  writeFileSync(
    join(folder, 'program.js'),
    `import { enroll, FileStore, PushpointDevice } from '@pushpoint/device';
    const store = await FileStore.open('./state');
    const options = { server: 'http://127.0.0.1:9', token: 'x', store, name: 'n' };
    const refused = await enroll(options).catch((error) => error.name);
    new PushpointDevice({ store }).handle('sync', () => ({}));
    await store.close();
    console.log(refused);`,
  );
  const { stdout } = await run(process.execPath, ['program.js'], { cwd: folder });
  assert.is(stdout, 'EnrollError\n');
});

test('CommonJS requires it on the oldest Node.js of each line that it supports', async () => {
  const { engines } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'));
  const oldest = [...engines.node.matchAll(/\^(\d+\.\d+\.\d+)/g)].map(([, version]) => version);
  assert.is(oldest.length, 3);
  writeFileSync(
    join(folder, 'program.cjs'),
    `const { MemoryStore, PushpointDevice } = require('@pushpoint/device');
    new PushpointDevice({ store: new MemoryStore(), tunnels: { allow: [22] } });
    console.log('made');`,
  );
  for (const version of oldest) {
    const node = await nodeVersion(version);
    if (node === undefined) continue;
    const { stdout } = await run(node, ['program.cjs'], { cwd: folder });
    assert.is(stdout, 'made\n', version);
  }
});

test('its types hold without the types of the server', async () => {
  writeFileSync(
    join(folder, 'typed.ts'),
    `import { PushpointDevice, MemoryStore } from '@pushpoint/device';
    const device = new PushpointDevice({ store: new MemoryStore() });
    device.handle('sync', ({ args }) => ({ full: args.full === true }));
    // @ts-expect-error: a sync has no such argument.
    device.handle('sync', ({ args }) => args.fully);
    device.handle('own.type', (command) => command.args);`,
  );
  const options = [
    '--noEmit',
    '--strict',
    '--types',
    'node',
    '--typeRoots',
    join(ROOT, 'node_modules/@types'),
  ];
  for (const modules of [
    ['--module', 'Node16'],
    ['--module', 'NodeNext'],
    ['--module', 'ESNext', '--moduleResolution', 'Bundler', '--customConditions', 'browser'],
  ]) {
    const args = [...options, ...modules, '--target', 'ES2023', '--skipLibCheck', 'typed.ts'];
    await run(join(ROOT, 'node_modules/.bin/tsc'), args, { cwd: folder }).catch(({ stdout }) => {
      throw new Error(stdout);
    });
  }
});

test.run();
