// time limit: 240 s
/** Clients that common tools generate from the OpenAPI document compile strictly, and call a real server. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Http, startHttp } from '../admin-api/http-harness.ts';
import { ROOT } from '../deploy/deploy-files.ts';
import { npmPackages } from '../services/npm-packages.ts';
import { HEY_API, OPENAPI_TYPESCRIPT } from './programs.ts';

const run = promisify(execFile);

/** @hey-api/openapi-ts from 0.96.0 on needs Node.js 22. The generators need TypeScript 5 to write with. */
const PACKAGES = [
  'openapi-typescript@7.13.0',
  'openapi-fetch@0.17.0',
  '@hey-api/openapi-ts@0.95.0',
  'typescript@5.9.3',
];
const OPENAPI_TYPESCRIPT_CLI = 'node_modules/openapi-typescript/bin/cli.js';
const CONFIG = {
  compilerOptions: {
    strict: true,
    noUncheckedIndexedAccess: true,
    noFallthroughCasesInSwitch: true,
    target: 'ES2023',
    lib: ['ES2023', 'DOM', 'DOM.Iterable', 'DOM.AsyncIterable'],
    module: 'NodeNext',
    moduleResolution: 'NodeNext',
    skipLibCheck: false,
    types: [],
    rootDir: '.',
    outDir: 'out',
  },
};

let http: Http;
const folder = mkdtempSync(join(tmpdir(), 'api-clients-'));
const node = (...args: string[]) => run(process.execPath, args, { cwd: folder, maxBuffer: 16 * 1024 * 1024 });

test.before(async () => {
  http = await startHttp();
  const document = await (await fetch(`${http.url}/openapi.json`)).text();
  writeFileSync(join(folder, 'openapi.json'), document);
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(CONFIG));
  writeFileSync(join(folder, 'with-openapi-typescript.ts'), OPENAPI_TYPESCRIPT);
  writeFileSync(join(folder, 'with-hey-api.ts'), HEY_API);
  symlinkSync(await npmPackages('api-clients-1', PACKAGES), join(folder, 'node_modules'));
  const output = { path: 'hey-api', tsConfigPath: join(folder, 'tsconfig.json') };
  const hey = { input: 'openapi.json', output, plugins: ['@hey-api/client-fetch', '@hey-api/sdk'] };
  writeFileSync(join(folder, 'openapi-ts.config.js'), `export default ${JSON.stringify(hey)}`);
  // What has a default may be left out, as everywhere in JSON Schema.
  const optional = ['--default-non-nullable', 'false'];
  await Promise.all([
    node(OPENAPI_TYPESCRIPT_CLI, 'openapi.json', '-o', 'openapi-typescript.ts', ...optional),
    node('node_modules/@hey-api/openapi-ts/bin/run.js'),
  ]);
});
test.after(async () => {
  await http.stop();
  rmSync(folder, { recursive: true });
});

test('both clients, and programs that use them, compile strictly', async () => {
  const compiler = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
  await node(compiler, '-p', '.').catch(({ stdout }) => assert.unreachable(stdout));
});

async function says(program: string): Promise<Record<string, unknown>> {
  const env = { ...process.env, PUSHPOINT_URL: http.url, PUSHPOINT_TOKEN: http.secrets.admin };
  const { stdout } = await run(process.execPath, [join(folder, 'out', program)], {
    env,
    timeout: 60_000,
  });
  return JSON.parse(stdout);
}

test('openapi-typescript: changes with a tag, a command with a key, lists by time', async () => {
  assert.equal(await says('with-openapi-typescript.js'), {
    name: 'Renamed',
    code: 'precondition-failed',
    sent: true,
  });
});

test('@hey-api/openapi-ts: the same, and events told apart by their type', async () => {
  assert.equal(await says('with-hey-api.js'), {
    name: 'Renamed by openapi-ts',
    code: 'precondition-failed',
    sent: true,
    event: 'Renamed by openapi-ts',
  });
});

test.run();
