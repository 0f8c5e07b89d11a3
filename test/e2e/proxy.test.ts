// time limit: 240 s
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { proxyFor } from '../../device/platform/proxy-node.ts';
import { makeCertificates } from '../services/certificates.ts';
import { type Program, startCli } from '../services/processes.ts';
import { startProxy } from '../services/proxy.ts';
import { freePort, waitFor } from '../wait.ts';

/** An address of this machine that is not its loopback: that never goes through a proxy. */
function ownAddress(): string {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  const found = all.find(({ family, internal }) => family === 'IPv4' && !internal);
  if (!found) throw new Error('this test needs an IPv4 address of this machine besides 127.0.0.1');
  return found.address;
}

async function echo(port: number, text: string): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port });
  socket.setEncoding('utf8').end(text);
  let back = '';
  for await (const chunk of socket) back += chunk;
  return back;
}

/** Agent, commands, events and a tunnel, all of them through a proxy that asks who they are. */
async function throughProxy(secure: boolean): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'pushpoint-proxy-e2e-'));
  const host = ownAddress();
  const proxy = await startProxy();
  const certificates = await makeCertificates([`IP:${host}`]);
  const [apiPort, port] = [await freePort(), await freePort()];
  const { cert, key, ca } = certificates;
  const tls = ['--api-tls-cert', cert, '--api-tls-key', key, '--tls-cert', cert, '--tls-key', key];
  const [http, ws] = secure ? ['https', 'wss'] : ['http', 'ws'];
  const server = startCli([
    ...['start', '--api-host', '0.0.0.0', '--api-port', String(apiPort), '--data-dir', join(folder, 'data')],
    ...['--host', '0.0.0.0', '--port', String(port), '--address', `${ws}://${host}:${port}`],
    ...(secure ? tls : []),
  ]);
  const programs: Program[] = [server];
  const echoServer = createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket));
  await new Promise<void>((resolve) => echoServer.listen(0, '127.0.0.1', resolve));
  const echoPort = (echoServer.address() as AddressInfo).port;
  const env = {
    [secure ? 'HTTPS_PROXY' : 'http_proxy']: proxy.url,
    NODE_EXTRA_CA_CERTS: ca,
    PUSHPOINT_SERVER: `${http}://${host}:${apiPort}`,
  };
  try {
    const { tokenFile } = JSON.parse((await server.waitForLine(/^ready/, 30_000)).slice('ready '.length));
    const run = (...args: string[]) => {
      const program = startCli(args, { env: { ...env, PUSHPOINT_TOKEN_FILE: tokenFile } });
      programs.unshift(program);
      return program;
    };
    const done = async (...args: string[]) => {
      const program = run(...args);
      assert.is((await program.exited).code, 0, program.output);
      return program.output;
    };
    const token = await done('enroll-token', '--quiet');
    const config = join(folder, 'agent.yaml');
    writeFileSync(config, `tunnels:\n  allow: [${echoPort}]\n`);
    const agent = startCli(
      ['agent', '--config', config, '--state', join(folder, 'agent'), '--token', token],
      { env },
    );
    programs.unshift(agent);
    await agent.waitForLine(/"connected"/, 30_000);
    await done('sync', '--all', '--wait', '--wait-timeout', '60s');
    const events = run('events', '--after', '0');
    await events.waitForLine(/device\./, 30_000);
    const [device = ''] =
      /[\w-]+/.exec(JSON.parse(await done('devices', 'list', '--json')).items[0].id) ?? [];
    const tunnel = run('tunnel', device, String(echoPort), '--json');
    const listens = () => /"listen":\s*\{[^}]*"port":\s*(\d+)/.exec(tunnel.output)?.[1];
    const local = await waitFor(listens, { timeoutMs: 30_000, what: 'the tunnel to listen' }).catch(
      (error) => {
        throw new Error(tunnel.output, { cause: error });
      },
    );
    const text = 'through and back '.repeat(20_000);
    assert.is(await echo(Number(local), text), text);

    const targets = proxy.targets();
    const at = (wanted: number) => targets.filter((target) => target === `${host}:${wanted}`).length;
    assert.ok(at(apiPort) >= 4, `the API: ${targets}`);
    // The session and both legs of the tunnel.
    assert.ok(at(port) >= 3, `the gateway: ${targets}`);

    const wrong = startCli(['devices', 'list'], {
      env: {
        ...env,
        PUSHPOINT_TOKEN_FILE: tokenFile,
        [secure ? 'HTTPS_PROXY' : 'http_proxy']: `http://127.0.0.1:${proxy.port}`,
      },
    });
    programs.unshift(wrong);
    assert.is((await wrong.exited).code, 4);
    assert.match(wrong.output, /proxy 127\.0\.0\.1:\d+ answers 407 to CONNECT/);
    const before = proxy.targets().length;
    const direct = startCli(['devices', 'list'], {
      env: { ...env, PUSHPOINT_TOKEN_FILE: tokenFile, NO_PROXY: `example.net, ${host}` },
    });
    programs.unshift(direct);
    assert.is((await direct.exited).code, 0, direct.output);
    assert.is(proxy.targets().length, before, 'NO_PROXY');
  } finally {
    for (const program of programs) await program.stop();
    echoServer.close();
    await proxy.stop();
    await certificates.remove();
    rmSync(folder, { recursive: true, force: true });
  }
}

test('through a proxy that wants a password: agent, commands, events and tunnels', () => throughProxy(false));

test('the same with TLS, which goes through the proxy unread', () => throughProxy(true));

test('which proxy is meant for which URL', () => {
  const env = {
    HTTP_PROXY: 'proxy.example:3128',
    https_proxy: 'https://user:p%40ss@secure.example',
    HTTPS_PROXY: 'http://not-this-one',
    NO_PROXY: 'example.net, .internal, *.corp, 10.0.0.0/8,[fd00::1]:8443,plain:81',
  };
  const at = (url: string) => proxyFor(new URL(url), env)?.host ?? null;
  assert.is(at('http://example.com'), 'proxy.example:3128');
  assert.is(at('ws://example.com'), 'proxy.example:3128');
  assert.is(at('wss://example.com:13295'), 'secure.example');
  const direct = [
    ...['https://example.net', 'https://a.b.example.net', 'wss://db.internal', 'https://x.corp'],
    ...['http://10.1.2.3:8080', 'https://[fd00::1]:8443', 'http://plain:81'],
    ...['http://localhost', 'http://127.0.0.9', 'ws://[::1]:13295'],
  ];
  for (const url of direct) assert.is(at(url), null, url);
  const through = ['http://plain', 'https://[fd00::1]', 'http://11.1.2.3', 'https://badexample.net'];
  for (const url of through) assert.ok(at(url), url);
  assert.is(proxyFor(new URL('http://example.com'), { ...env, NO_PROXY: '*' }), null);
  for (const bad of ['socks5://secret@proxy', 'http://']) {
    assert.throws(
      () => proxyFor(new URL('http://example.com'), { HTTP_PROXY: bad }),
      /^HTTP_PROXY does not name/,
    );
  }
});

test.run();
