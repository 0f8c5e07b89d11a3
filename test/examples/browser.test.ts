// time limit: 300 s
/** The page in examples/, bundled, in a real browser under a strict policy, against a real server. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { bundlePage, linkDevicePackage } from '../services/bundle.ts';
import { type Chromium, startChromium } from '../services/chromium.ts';
import { type Program, startCli } from '../services/processes.ts';
import { waitFor } from '../wait.ts';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'example-page-'));
const scripts: Record<string, string> = {};
let server: Program;
let chromium: Chromium;
let ready: { api: string; gateway: string };

/** A page that also serves tunnels, as docs/sdk.md says. */
const WITH_TUNNELS = `import { enroll, nearness, PushpointDevice } from '@pushpoint/device';
import { WebStore, webProbe, webTunnels } from '@pushpoint/device';
const query = new URLSearchParams(location.search);
const store = await WebStore.open('tunnels');
await enroll({ server: query.get('server'), token: query.get('token'), store, name: 'echo' });
const echo = (stream) => {
  stream.accepted();
  return {
    data: (bytes) => { stream.write(bytes.slice()); stream.consumed(bytes.length); },
    end: () => stream.end(),
    writable: () => {},
    closed: () => {},
  };
};
const tunnels = webTunnels({ serve: ({ port }) => (port === 7 ? echo : undefined) });
const device = new PushpointDevice({ store, tunnels, nearness: nearness(webProbe) });
const state = document.querySelector('#state');
device.on('connected', ({ gateway }) => { state.textContent = 'connected to ' + gateway.name; });
await device.start();
`;

/** A strict policy: scripts of this origin alone, no eval, connections to the named servers and no others. */
const http = createServer((request, response) => {
  const script = scripts[new URL(request.url ?? '', 'http://page').pathname];
  const servers = [ready.api, ready.gateway, ready.gateway.replace('ws', 'http')];
  const policy = `default-src 'none'; script-src 'self'; connect-src ${servers.join(' ')}`;
  response.setHeader('content-security-policy', policy);
  response.setHeader('content-type', script === undefined ? 'text/html' : 'text/javascript');
  response.end(script ?? readFileSync(join(ROOT, 'examples/browser/index.html')));
});

test.before(async () => {
  linkDevicePackage(folder);
  cpSync(join(ROOT, 'examples/browser/page.js'), join(folder, 'page.js'));
  writeFileSync(join(folder, 'tunnels.js'), WITH_TUNNELS);
  scripts['/page.js'] = await bundlePage(join(folder, 'page.js'));
  scripts['/tunnels/page.js'] = await bundlePage(join(folder, 'tunnels.js'));
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  const ports = ['--api-port', '0', '--port', '0', '--metrics-port', '0'];
  server = startCli(['start', ...ports, '--allowed-origins', origin()], { cwd: folder });
  ready = JSON.parse((await server.waitForLine(/^ready /)).slice('ready '.length));
  chromium = await startChromium();
});
test.after(async () => {
  await chromium?.stop();
  await server?.stop();
  http.closeAllConnections();
  http.close();
  rmSync(folder, { recursive: true, force: true });
});

const origin = () => `http://127.0.0.1:${(http.address() as AddressInfo).port}`;

async function operator(...args: string[]): Promise<{ code: number | null; output: string }> {
  const program = startCli([...args, '--server', ready.api], { cwd: folder });
  const { code } = await program.exited;
  return { code, output: program.output };
}

/** Opens the page below `path` and waits until it says that it is connected; the tab and the device's id. */
async function connectedPage(path: string): Promise<{ tab: string; id: string }> {
  const token = (await operator('enroll-token', '--quiet')).output.trim();
  const before = new Set(await devices());
  const tab = await chromium.open(`${origin()}${path}?${new URLSearchParams({ token, server: ready.api })}`);
  let said: unknown;
  await waitFor(
    async () => {
      said = await chromium.evaluate(tab, "document.querySelector('#state')?.textContent");
      return String(said).startsWith('connected to ');
    },
    { timeoutMs: 60_000, what: 'the page to connect' },
  ).catch((error) => {
    throw new Error(`${error.message}; it says ${said}\n${chromium.output.slice(-2_000)}`);
  });
  const id = (await devices()).find((each) => !before.has(each));
  assert.ok(id);
  return { tab, id };
}

async function devices(): Promise<string[]> {
  const { output } = await operator('devices', 'list', '--json');
  return (JSON.parse(output).items as { id: string }[]).map(({ id }) => id);
}

test('the bundle is under 25,000 bytes compressed, without eval and without parts not asked for', () => {
  const page = scripts['/page.js'] ?? '';
  const withTunnels = scripts['/tunnels/page.js'] ?? '';
  const sizes = [page, withTunnels].map((code) => gzipSync(code, { level: 9 }).length);
  console.log(`compressed: ${sizes[0]} bytes, with tunnels and nearness ${sizes[1]}`);
  assert.ok((sizes[0] ?? 0) < 25_000);
  assert.ok(withTunnels.includes('pushpoint.tunnel.v1'));
  assert.not.match(page, /pushpoint\.tunnel/);
  assert.ok(withTunnels.includes('pushpoint-gateway'), 'it probes');
  assert.not.match(page, /pushpoint-gateway/);
  for (const code of [page, withTunnels]) assert.not.match(code, /\beval\s*\(|\bFunction\s*\(/);
});

test('browser: the page connects, shows what it is told, and refuses what it does not know', async () => {
  const { tab, id } = await connectedPage('/');
  const shown = await operator('message', 'show', '--body', '"hello"', '--device', id, '--wait', '--json');
  assert.is(shown.code, 0, shown.output);
  assert.match(shown.output, /"shown":\s*1/);
  assert.is(await chromium.evaluate(tab, "document.querySelector('#messages').textContent"), 'hello');
  const unknown = await operator('message', 'sing', '--device', id, '--wait');
  assert.is(unknown.code, 5, unknown.output);
  assert.match(unknown.output, /no such topic: sing/);
  await chromium.close(tab);
});

test('browser: a page with tunnels answers a stream, and no other port', async () => {
  const { id } = await connectedPage('/tunnels/');
  const tunnel = (port: string) => {
    const args = ['tunnel', id, port, '--stdio', '--server', ready.api];
    return spawn(process.execPath, [join(ROOT, 'dist/cli/main.js'), ...args], { cwd: folder });
  };
  const sent = 'x'.repeat(100_000);
  const open = tunnel('7');
  let received = '';
  open.stdout.setEncoding('utf8').on('data', (text: string) => {
    received += text;
  });
  open.stdin.end(sent);
  const [code] = await once(open, 'close');
  assert.is(code, 0);
  assert.is(received, sent);
  const refused = tunnel('22');
  refused.stdin.on('error', () => {});
  refused.stdin.end('x');
  assert.not.equal((await once(refused, 'close'))[0], 0);
});

test.run();
