/** Real OpenSSH: a server of the test's own on loopback, and how to call the clients. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { findPrograms, installPackage } from '../services/install.ts';
import { Service } from '../services/service.ts';
import { freePort } from '../wait.ts';

const execute = promisify(execFile);

export interface SshServer {
  readonly port: number;
  readonly ssh: string;
  readonly scp: string;
  /** For `ssh` and `scp`: our key, no configuration of this machine's, no questions. */
  readonly options: readonly string[];
  /** Idempotent. */
  stop(): Promise<void>;
}

/** Installs what is missing where this process may. */
async function ensureOpenSsh() {
  const clients = () => findPrograms(['ssh', 'scp', 'ssh-keygen'], ['/usr/bin', '/usr/local/bin']);
  const server = () => findPrograms(['sshd'], ['/usr/sbin', '/usr/local/sbin']);
  if (!(await clients()) || !(await server())) {
    await installPackage('openssh-server', 'openssh (macOS has it)');
  }
  const [found, daemon] = [await clients(), await server()];
  if (!found || !daemon) throw new Error('OpenSSH was installed, but is not where it is looked for');
  return { ...found, ...daemon };
}

export async function startSshServer(): Promise<SshServer> {
  const programs = await ensureOpenSsh();
  const folder = await mkdtemp(join(tmpdir(), 'sshd-'));
  for (const key of ['host_key', 'key']) {
    await execute(programs['ssh-keygen'], ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, key)]);
  }
  const port = await freePort();
  await writeFile(join(folder, 'sshd_config'), configuration(folder, port));
  // Debian's sshd wants it, and only the start of the machine makes it.
  if (process.getuid?.() === 0) await mkdir('/run/sshd', { recursive: true, mode: 0o755 });
  const service = new Service({
    name: 'sshd',
    folder,
    command: programs.sshd,
    arguments: ['-D', '-e', '-f', join(folder, 'sshd_config')],
    stopSignal: 'SIGTERM',
    endSignal: 'KILL',
    answers: () => greets(port),
    startTimeoutMs: 10_000,
  });
  await service.start();
  return {
    port,
    ssh: programs.ssh,
    scp: programs.scp,
    options: [
      ...['-F', 'none', '-i', join(folder, 'key'), '-o', `User=${userInfo().username}`],
      ...['-o', 'IdentitiesOnly=yes', '-o', 'BatchMode=yes', '-o', 'StrictHostKeyChecking=no'],
      ...['-o', 'UserKnownHostsFile=/dev/null', '-o', 'LogLevel=ERROR', '-o', 'ConnectTimeout=60'],
    ],
    stop: () => service.stop(),
  };
}

function configuration(folder: string, port: number): string {
  return [
    `Port ${port}`,
    'ListenAddress 127.0.0.1',
    `HostKey ${folder}/host_key`,
    `AuthorizedKeysFile ${folder}/key.pub`,
    'PidFile none',
    'StrictModes no',
    'UsePAM no',
    'PermitRootLogin prohibit-password',
    'PasswordAuthentication no',
    'KbdInteractiveAuthentication no',
    'Subsystem sftp internal-sftp',
    'LogLevel ERROR',
    '',
  ].join('\n');
}

/** It says `SSH-2.0-...` to whoever connects. */
function greets(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.setTimeout(1_000, () => socket.destroy());
    socket.once('data', (data) => {
      resolve(data.toString('latin1').startsWith('SSH-2.0-'));
      socket.destroy();
    });
    socket.once('error', () => resolve(false));
    socket.once('close', () => resolve(false));
  });
}
