// time limit: 300 s
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type PeerCertificate, type TLSSocket } from 'node:tls';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WebSocket } from 'ws';
import { SUBPROTOCOL } from '../../protocol/index.ts';
import { joinFlags } from '../deployment/flags.ts';
import { type Certificates, makeCertificates } from '../services/certificates.ts';
import { type Program, startCli } from '../services/processes.ts';
import { startRedis } from '../services/redis.ts';
import { waitFor } from '../wait.ts';

const folder = mkdtempSync(join(tmpdir(), 'hangup-'));
const pairs = await Promise.all([makeCertificates(), makeCertificates()]);
const [first, second] = pairs as [Certificates, Certificates];
const files = { cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') };
const programs: Program[] = [];

function run(...args: string[]): Program {
  const program = startCli(args, { cwd: folder });
  programs.push(program);
  return program;
}

function install(from: Certificates): void {
  copyFileSync(from.cert, files.cert);
  copyFileSync(from.key, files.key);
}

const facts = async (program: Program) =>
  JSON.parse((await program.waitForLine(/^ready /, 30_000)).slice('ready '.length));

function open(port: number): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false }, () => resolve(socket));
    socket.once('error', reject);
  });
}

/** Which of the two pairs is served there. */
async function served(port: number): Promise<Certificates | undefined> {
  const socket = await open(port);
  const { raw }: PeerCertificate = socket.getPeerCertificate();
  socket.destroy();
  const pem = (text: string) => Buffer.from(text.replace(/-----.*-----/g, ''), 'base64');
  return pairs.find(({ cert }) => pem(readFileSync(cert, 'utf8')).equals(raw));
}

async function waitForServed(port: number, pair: Certificates, times: number): Promise<void> {
  await waitFor(
    async () => {
      for (let i = 0; i < times; i++) if ((await served(port)) !== pair) return false;
      return true;
    },
    { what: 'the other certificate' },
  );
}

const body = (url: string) =>
  new Promise<string>((resolve, reject) => {
    get(url, { rejectUnauthorized: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part) => {
        text += part;
      });
      response.once('end', () => resolve(text));
    }).once('error', reject);
  });

test.after.each(async () => {
  for (const program of programs.splice(0).reverse()) await program.stop();
});
test.after(async () => {
  for (const pair of pairs) await pair.remove();
  rmSync(folder, { recursive: true, force: true });
});

test('at SIGHUP API and gateway serve the certificate now in the files; open connections stay', async () => {
  install(first);
  const start = run(
    ...['start', '--api-port', '0', '--port', '0', '--metrics-port', '0', '--host', '127.0.0.1'],
    ...['--data-dir', join(folder, 'data'), '--tls-cert', files.cert, '--tls-key', files.key],
    ...['--api-tls-cert', files.cert, '--api-tls-key', files.key, '--handshake-timeout', '60s'],
  );
  const { apiPort, gatewayPort, metricsPort } = await facts(start);
  const api = await open(apiPort);
  const device = new WebSocket(`wss://127.0.0.1:${gatewayPort}`, SUBPROTOCOL, { rejectUnauthorized: false });
  await once(device, 'message');
  for (const port of [apiPort, gatewayPort]) assert.is(await served(port), first);

  install(second);
  await start.kill('SIGHUP');
  for (const port of [apiPort, gatewayPort]) await waitForServed(port, second, 3);
  assert.equal([api.readyState, device.readyState], ['open', WebSocket.OPEN]);

  writeFileSync(files.cert, 'not a certificate');
  const warns = (text: string) => /"certificate":\{"ok":true.*are not usable.*stay in use/.test(text);
  const ready = async () => [
    await body(`https://127.0.0.1:${apiPort}/ready`),
    await (await fetch(`http://127.0.0.1:${metricsPort}/ready`)).text(),
  ];
  await start.kill('SIGHUP');
  await waitFor(async () => (await ready()).every(warns), { what: 'the health to say so' });
  for (const port of [apiPort, gatewayPort]) assert.is(await served(port), second);
  for (const certificate of ['api', 'gateway']) {
    assert.ok(start.lines.some((line) => line.includes(`"certificate":"${certificate}"`)));
  }

  install(first);
  await start.kill('SIGHUP');
  for (const port of [apiPort, gatewayPort]) await waitForServed(port, first, 3);
  assert.not.ok((await ready()).some(warns));
  assert.is(device.readyState, WebSocket.OPEN);
  device.terminate();
  api.destroy();
  assert.equal(await start.stop(), { code: 0, signal: null });
});

test('every worker of a gateway takes a changed certificate; the server shows a bad one', async () => {
  install(first);
  const redis = await startRedis();
  try {
    const many = join(folder, 'many');
    const admin = run(
      ...['admin', '--api-port', '0', '--data-dir', many, '--redis-url', redis.url, '--join-tokens', 'gw1'],
    );
    const { api } = await facts(admin);
    const gateway = run(
      ...['gateway', '--name', 'gw1', '--workers', '3', '--port', '0', '--metrics-port', '0'],
      ...['--address', 'wss://127.0.0.1:0', '--redis-url', redis.url],
      ...['--tls-cert', files.cert, '--tls-key', files.key, ...joinFlags('gw1', many)],
    );
    const { gatewayPort } = await facts(gateway);
    await waitForServed(gatewayPort, first, 12);
    install(second);
    await waitForServed(gatewayPort, second, 24);
    copyFileSync(first.key, files.key);
    const ready = async () => (await fetch(`${api}/ready`)).text();
    await waitFor(async () => /"gw1: gateway: TLS files .* not usable/.test(await ready()), {
      what: 'the warning at the administration server',
    });
    await waitForServed(gatewayPort, second, 3);
    assert.ok(gateway.running);
  } finally {
    for (const program of programs.splice(0).reverse()) await program.stop();
    await redis.stop();
  }
});

test('a gateway and the API refuse TLS 1.1', async () => {
  install(first);
  const start = run(
    ...['start', '--api-port', '0', '--port', '0', '--metrics-port', '0', '--host', '127.0.0.1'],
    ...['--data-dir', join(folder, 'old'), '--tls-cert', files.cert, '--tls-key', files.key],
    ...['--api-tls-cert', files.cert, '--api-tls-key', files.key],
  );
  const { apiPort, gatewayPort } = await facts(start);
  for (const port of [apiPort, gatewayPort]) {
    const attempt = (maxVersion: 'TLSv1.1' | 'TLSv1.2') =>
      new Promise((resolve) => {
        const socket = connect({
          ...{ host: '127.0.0.1', port, rejectUnauthorized: false, maxVersion, minVersion: 'TLSv1' },
          ciphers: 'DEFAULT@SECLEVEL=0',
        });
        socket.once('secureConnect', () => {
          resolve(socket.getProtocol());
          socket.destroy();
        });
        socket.once('error', ({ message }) => resolve(message));
      });
    assert.is(await attempt('TLSv1.2'), 'TLSv1.2');
    assert.match(String(await attempt('TLSv1.1')), /protocol version|unsupported/i);
  }
  assert.equal(await start.stop(), { code: 0, signal: null });
});

test('SIGHUP ends no program, at whatever moment it comes', async () => {
  const start = run(
    ...['start', '--api-port', '0', '--port', '0', '--metrics-port', '0'],
    ...['--data-dir', join(folder, 'plain')],
  );
  const { api, tokenFile } = await facts(start);
  const token = await run('enroll-token', '--quiet', '--server', api, '--token-file', tokenFile).waitForLine(
    /\S/,
  );
  const agent = run('agent', '--server', api, '--token', token, '--state', join(folder, 'state'));
  await facts(agent);
  for (const program of [start, agent]) {
    await program.kill('SIGHUP');
    await program.waitForLine(/"SIGHUP"/);
  }
  assert.equal(await agent.stop(), { code: 0, signal: null });
  assert.equal(await start.stop(), { code: 0, signal: null });
});

test('a program ends at its start, with a sentence, if its TLS files do not match', async () => {
  install(first);
  copyFileSync(second.key, files.key);
  const args = ['start', '--api-port', '0', '--port', '0', '--data-dir', join(folder, 'wrong')];
  for (const [flags, sentence] of [
    [['--tls-cert', files.cert, '--tls-key', files.key], /--tls-cert, --tls-key: .* not usable: .*mismatch/],
    [
      ['--api-tls-cert', join(folder, 'none'), '--api-tls-key', files.key],
      /--api-tls-cert: .*none does not exist/,
    ],
  ] as const) {
    const program = run(...args, ...flags);
    assert.is((await program.exited).code, 2, program.output);
    assert.match(program.output, sentence);
    assert.not.match(program.output, /\n {4}at /);
  }
});

test.run();
