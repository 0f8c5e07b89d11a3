// time limit: 480 s
import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Program } from '../services/processes.ts';
import { ROOT, read } from './deploy-files.ts';

const run = promisify(execFile);
const folder = mkdtempSync(join(tmpdir(), 'image-'));

/** Keyword and arguments of each instruction; continuation lines are joined, comments dropped. */
function instructions(text: string): [string, string][] {
  const lines = text
    .split('\n')
    .filter((line) => !/^\s*(#|$)/.test(line))
    .join('\n');
  return [...lines.replace(/\\\n\s*/g, '').matchAll(/^([A-Z]+) (.*)$/gm)].map(([, keyword, rest]) => [
    keyword as string,
    rest as string,
  ]);
}

/** What `podman build` would send: everything is left out but what the ignore file lets in. */
function makeContext(): string {
  const context = join(folder, 'context');
  const [first, ...others] = read('deploy/container/Containerfile.dockerignore').trim().split('\n');
  assert.is(first, '**');
  for (const line of others) {
    assert.match(line, /^![\w./-]+$/);
    const path = line.slice(1);
    cpSync(join(ROOT, path), join(context, path), { recursive: true });
  }
  return context;
}

/**
 * Builds the stages as folders: WORKDIR and COPY as they stand, RUN of the build stage with a shell. Returns
 * the last one.
 */
async function buildImage(): Promise<{ root: string; instructions: [string, string][] }> {
  const context = makeContext();
  const stages = new Map<string, string>();
  const all = instructions(read('deploy/container/Containerfile'));
  let root = '';
  let work = '';
  for (const [keyword, rest] of all) {
    if (keyword === 'FROM') {
      const name = / AS (\w+)$/.exec(rest)?.[1] ?? 'image';
      root = join(folder, name);
      stages.set(name, root);
    } else if (keyword === 'WORKDIR') {
      work = join(root, rest);
      mkdirSync(work, { recursive: true });
    } else if (keyword === 'COPY') {
      copy(rest, context, stages, work);
    } else if (keyword === 'RUN' && root !== stages.get('image')) {
      // The lock file says which packages; what npm has in its cache need not come again.
      const env = { ...process.env, npm_config_prefer_offline: 'true', npm_config_audit: 'false' };
      await run('/bin/sh', ['-ec', rest], { cwd: work, env, maxBuffer: 16 * 1024 * 1024 });
    }
  }
  return { root, instructions: all };
}

function copy(rest: string, context: string, stages: Map<string, string>, work: string): void {
  const from = /^--from=(\w+) /.exec(rest);
  const base = from ? stages.get(from[1] as string) : context;
  assert.ok(base, rest);
  const words = rest.slice(from?.[0].length ?? 0).split(' ');
  const target = words.pop() as string;
  for (const source of words) {
    const path = join(base, source);
    assert.ok(existsSync(path), `COPY ${rest}: ${source} is not there`);
    const to = target.endsWith('/') ? join(work, target, basename(source)) : join(work, target);
    mkdirSync(dirname(to), { recursive: true });
    cpSync(path, to, { recursive: true, verbatimSymlinks: true });
  }
}

/** Native binaries in the folder of packages that `prune-binaries.mjs` looks after. */
function binaries(modules: string): string[] {
  const all = readdirSync(modules, { recursive: true }) as string[];
  return all.filter((name) => /^uWebSockets\.js\/.*\.node$|\/prebuilds\/[^/]+$/.test(name)).sort();
}

async function megabytes(path: string): Promise<string> {
  return (await run('du', ['-sm', path])).stdout.split('\t')[0] as string;
}

test.after(() => rmSync(folder, { recursive: true, force: true }));

test('the image, built from its copied files only, serves: a device enrols, connects and obeys', async () => {
  const image = await buildImage();
  const modules = join(image.root, '/opt/pushpoint/node_modules');
  const { platform, arch, versions } = process;
  console.log(`node_modules of the image: ${await megabytes(modules)} MB`);
  assert.equal(binaries(modules), [
    `@photostructure/sqlite/prebuilds/${platform}-${arch}`,
    `sodium-native/prebuilds/${platform}-${arch}`,
    `uWebSockets.js/uws_${platform}_${arch}_${versions.modules}.node`,
  ]);
  const runs = image.instructions.filter(([keyword]) => keyword === 'RUN').map(([, rest]) => rest);
  const [, main, link] = /ln -s (\S+) (\S+)/.exec(runs.at(-1) ?? '') ?? [];
  const entry = image.instructions.find(([keyword]) => keyword === 'ENTRYPOINT')?.[1];
  assert.is(JSON.parse(entry ?? '').at(-1), basename(link ?? ''));
  const command = JSON.parse(
    image.instructions.find(([keyword]) => keyword === 'CMD')?.[1] ?? '',
  ) as string[];
  const pushpoint = (...args: string[]) =>
    new Program(process.execPath, [join(image.root, main ?? ''), ...args], { cwd: folder });

  const data = join(folder, 'data');
  const ports = ['--api-port', '0', '--port', '0', '--metrics-port', '0'];
  const server = pushpoint(...command, ...ports, '--data-dir', data);
  const programs = [server];
  try {
    const ready = await server.waitForLine(/^ready /);
    const { api } = JSON.parse(ready.slice('ready '.length)) as { api: string };
    const at = ['--server', api, '--token-file', join(data, 'admin-token')];
    const tokens = pushpoint('enroll-token', '--quiet', ...at);
    programs.push(tokens);
    const token = await tokens.waitForLine(/\S/);
    const agent = pushpoint('agent', '--server', api, '--token', token, '--state', join(folder, 'agent'));
    programs.push(agent);
    await agent.waitForLine(/"connected"/);
    const sync = pushpoint('sync', '--all', '--wait', ...at);
    programs.push(sync);
    assert.equal(await sync.exited, { code: 0, signal: null }, sync.output);
    const health = join(image.root, '/opt/pushpoint/healthcheck.mjs');
    assert.ok(existsSync(health));
  } finally {
    for (const program of programs.reverse()) await program.stop();
  }
});

for (const architecture of ['x64', 'arm64']) {
  test(`of the native binaries the image keeps those of its Node.js, on ${architecture}`, async () => {
    const from = read('deploy/container/Containerfile').match(/^FROM .*\/node:(\d+)-/gm);
    // The number of the native interface of Node.js 24.
    assert.ok(from?.every((line) => line.endsWith('node:24-')));
    const modules = join(folder, architecture);
    for (const name of ['uWebSockets.js', '@photostructure/sqlite', 'sodium-native']) {
      for (const file of readdirSync(join(ROOT, 'node_modules', name), { recursive: true }) as string[]) {
        if (!file.endsWith('.node')) continue;
        mkdirSync(dirname(join(modules, name, file)), { recursive: true });
        writeFileSync(join(modules, name, file), '');
      }
    }
    const prune = (...args: string[]) =>
      run(process.execPath, [join(ROOT, 'deploy/container/prune-binaries.mjs'), modules, ...args]);
    const refused = await prune('linux', architecture, '999').catch((error) => error.stderr);
    assert.match(refused, /uws_linux_\w+_999\.node is not there: this Node\.js runs no gateway/);
    await prune('linux', architecture, '137');
    assert.equal(binaries(modules), [
      `@photostructure/sqlite/prebuilds/linux-${architecture}`,
      `sodium-native/prebuilds/linux-${architecture}`,
      `uWebSockets.js/uws_linux_${architecture}_137.node`,
    ]);
  });
}

test.run();
