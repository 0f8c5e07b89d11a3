/** A real HTTP proxy (tinyproxy) of the test's own, which asks for a name and a password. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { freePort, waitFor } from '../wait.ts';
import { findPrograms, installPackage } from './install.ts';
import { Program } from './processes.ts';

export interface ProxyServer {
  readonly port: number;
  /** With the right name and password. */
  readonly url: string;
  /** Hosts and ports it was asked to connect to, in order. */
  targets(): string[];
  stop(): Promise<void>;
}

const USER = 'operator';
/** As it may stand in a URL: `password1`. */
const PASSWORD = '%70assword1';

export async function startProxy(): Promise<ProxyServer> {
  const find = () =>
    findPrograms(['tinyproxy'], ['/usr/bin', '/usr/sbin', '/usr/local/bin', '/opt/homebrew/bin']);
  if (!(await find())) await installPackage('tinyproxy', 'brew install tinyproxy (macOS)');
  const command = (await find())?.tinyproxy ?? 'tinyproxy';
  const folder = mkdtempSync(join(tmpdir(), 'pushpoint-proxy-'));
  const [port, log, config] = [await freePort(), join(folder, 'log'), join(folder, 'conf')];
  const { username } = userInfo();
  writeFileSync(
    config,
    [
      ...[`User ${username}`, `Port ${port}`, 'Listen 127.0.0.1', 'Timeout 600', 'MaxClients 100'],
      ...[`LogFile "${log}"`, 'LogLevel Info', `BasicAuth ${USER} ${decodeURIComponent(PASSWORD)}`, ''],
    ].join('\n'),
  );
  writeFileSync(log, '');
  const program = new Program(command, ['-d', '-c', config], {});
  const text = () => readFileSync(log, 'utf8') + program.output;
  await waitFor(() => /Accepting connections|listening on fd/i.test(text()), { what: 'tinyproxy to listen' });
  return {
    port,
    url: `http://${USER}:${PASSWORD}@127.0.0.1:${port}`,
    targets: () => [...text().matchAll(/Request.*CONNECT (\S+) HTTP/g)].map(([, target = '']) => target),
    async stop() {
      await program.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
